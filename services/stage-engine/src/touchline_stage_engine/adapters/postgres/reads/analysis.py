"""Read a lifecycle over all customers, or over those that a filter selects."""

from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from touchline_stage_engine.adapters.postgres.reads import analysis_sql as sql
from touchline_stage_engine.adapters.postgres.reads.lifecycles import FEEDBACK, LifecycleReads
from touchline_stage_engine.adapters.postgres.reads.statements import Reads
from touchline_stage_engine.application.queries.values import AnalysisFilter
from touchline_stage_engine.core.analysis.cohorts import Cohort, Reached, cohorts
from touchline_stage_engine.core.analysis.funnel import funnel_steps
from touchline_stage_engine.core.analysis.population import Shift, by_day
from touchline_stage_engine.core.analysis.survival import Curve, Stays, kaplan_meier
from touchline_stage_engine.core.definitions.model import Definition

NOW = text("SELECT CAST(extract(epoch FROM now()) * 1000000 AS bigint) AS now")


def _entered(wanted: AnalysisFilter) -> dict[str, Any]:
    """Parameters that select the customers who entered in the span."""
    return _anyone(wanted) | {"entered_since": wanted.since, "entered_until": wanted.until}


def _anyone(wanted: AnalysisFilter) -> dict[str, Any]:
    """Parameters that select customers regardless of when they entered."""
    return {"channel": wanted.channel, "source": wanted.source}


def _span(wanted: AnalysisFilter) -> dict[str, Any]:
    """Parameters that select what occurred in the span."""
    return {"since": wanted.since, "until": wanted.until}


class Place(NamedTuple):
    """Customers by the furthest stage of the path that they reached (None: none of it), and their stage now."""

    furthest: str | None
    stage: str | None
    stalled: bool
    customers: int


class AnalysisReads(Reads):
    """Implements the port `AnalysisQueries`. Each query reads all history that the filter selects."""

    def __init__(self, engine: AsyncEngine, lifecycles: LifecycleReads) -> None:
        super().__init__(engine)
        self._lifecycles = lifecycles

    async def funnel(self, definition: Definition, wanted: AnalysisFilter) -> dict[str, Any]:
        """How far customers who entered in the span came, and where they are now."""
        stages = [stage.name for stage in definition.stages]
        furthest: dict[str, int] = {}
        now: dict[str, dict[str, int]] = {}
        for place in await self._places(definition, wanted):
            if place.furthest is not None:
                furthest[place.furthest] = furthest.get(place.furthest, 0) + place.customers
            if place.stage is not None:
                counts = now.setdefault(place.stage, {"customers": 0, "stalled": 0})
                counts["customers"] += place.customers
                counts["stalled"] += place.customers if place.stalled else 0
        medians = {stage: curve.median for stage, curve in (await self.stays(definition, wanted)).items()}
        labels = {stage.name: stage.label for stage in definition.every_stage}

        def now_in(stage: str) -> dict[str, Any]:
            row = now.get(stage, {})
            return {
                "stage": stage,
                "title": labels.get(stage, stage),
                "customers": row.get("customers", 0),
                "stalled": row.get("stalled", 0),
            }

        steps = [
            now_in(step.stage)
            | {
                "reached": step.reached,
                "conversion_from_previous": step.from_previous,
                "conversion_overall": step.overall,
                "median_seconds": medians.get(step.stage),
            }
            for step in funnel_steps(stages, furthest)
        ]
        # Stages off the path, then stages that only earlier versions have.
        beside = [*(stage.name for stage in definition.off_path), *sorted(now.keys() - labels.keys())]
        return {"stages": steps, "off_path": [now_in(stage) for stage in beside]}

    async def flows(self, definition: Definition, wanted: AnalysisFilter) -> list[dict[str, Any]]:
        """Moves by stages and kind, the most frequent first."""
        moves = await self._of(definition, sql.FLOWS, **_anyone(wanted), **_span(wanted))
        medians = {
            (row["from_stage"], row["to_stage"], row["move"]): row["median_seconds"]
            for row in await self._of(definition, sql.FLOW_MEDIANS, **_anyone(wanted), **_span(wanted))
        }
        # A move between the two statements may have made a flow that has no median yet.
        return [
            row | {"median_seconds": medians.get((row["from_stage"], row["to_stage"], row["move"]))} for row in moves
        ]

    async def population(
        self, definition: Definition, wanted: AnalysisFilter, first: int, last: int
    ) -> dict[str, list[int]]:
        """Stage → people in it at the end of each day, from one day (since the epoch) to another."""
        rows = await self._of(definition, sql.SHIFTS, **_anyone(wanted))
        shifts = [Shift(row["day"], row["from_stage"], row["to_stage"], row["customers"]) for row in rows]
        return by_day(shifts, [stage.name for stage in definition.every_stage], first, last)

    async def stays(self, definition: Definition, wanted: AnalysisFilter) -> dict[str, Curve]:
        """Stage → estimate of how long customers stay, in seconds. The database's clock ends open stays."""
        now = await self._now()
        rows = await self._of(definition, sql.STAYS, now=now, **_anyone(wanted), **_span(wanted))
        stays: dict[str, list[Stays]] = {stage.name: [] for stage in definition.every_stage}
        for row in rows:
            if row["stage"] in stays:
                stays[row["stage"]].append(Stays(float(row["seconds"]), row["left_it"], row["inside"]))
        return {stage: kaplan_meier(found) for stage, found in stays.items()}

    async def cohorts(
        self, definition: Definition, stage: str, wanted: AnalysisFilter, current_month: str
    ) -> list[Cohort]:
        """By month of entry: the share that reached a stage of the path, or a later one, month by month."""
        stages = [item.name for item in definition.stages]
        rows = await self._of(definition, sql.COHORTS, stages=stages, least=stages.index(stage) + 1, **_entered(wanted))
        return cohorts((Reached(row["month"], row["months"], row["customers"]) for row in rows), current_month)

    async def drop_out(self, definition: Definition, wanted: AnalysisFilter) -> dict[str, Any]:
        """Where paths end, and losses by month."""
        stages = [stage.name for stage in definition.stages]
        ends: dict[str, dict[str, int]] = {}
        for place in await self._places(definition, wanted):
            if place.furthest is None:
                continue
            row = ends.setdefault(place.furthest, {"reached": 0, "ended_here": 0, "stalled": 0, "left_back": 0})
            row["reached"] += place.customers
            if place.stage is not None:
                row["ended_here"] += place.customers
                row["stalled"] += place.customers if place.stage == place.furthest and place.stalled else 0
                row["left_back"] += place.customers if place.stage != place.furthest else 0
        reached = funnel_steps(stages, {stage: row["reached"] for stage, row in ends.items()})
        labels = {stage.name: stage.label for stage in definition.every_stage}
        found = []
        for step in reached:
            row = ends.get(step.stage, {})
            stalled, back = row.get("stalled", 0), row.get("left_back", 0)
            found.append(
                {
                    "stage": step.stage,
                    "title": labels[step.stage],
                    "reached": step.reached,
                    "ended_here": row.get("ended_here", 0),
                    "stalled": stalled,
                    "left_back": back,
                    "lost": stalled + back,
                    "lost_share": (stalled + back) / step.reached if step.reached else None,
                }
            )
        months = await self._of(definition, sql.LOSSES, **_entered(wanted))
        return {"stages": found, "months": [row for row in months if row["stage"] in labels]}

    async def effort(self, definition: Definition, wanted: AnalysisFilter) -> list[dict[str, Any]]:
        """Touchpoints by stage and direction, and how many are feedback."""
        rows = await self._of(definition, sql.EFFORT, feedback=FEEDBACK, **_anyone(wanted), **_span(wanted))
        by_stage = {row["stage"]: row for row in rows}
        found = []
        for stage in definition.every_stage:
            row = by_stage.get(stage.name, {})
            outbound, inbound = row.get("outbound", 0), row.get("inbound", 0)
            counted = {name: row.get(name, 0) for name in ("customers", "feedback", "feedback_asked")}
            found.append(
                {
                    "stage": stage.name,
                    "title": stage.label,
                    "outbound": outbound,
                    "inbound": inbound,
                    "minutes": row.get("minutes", 0.0),
                    "listening_ratio": inbound / outbound if outbound else None,
                }
                | counted
            )
        return found

    async def first_touchpoints(self) -> list[dict[str, Any]]:
        """Channels and sources of first touchpoints, with the number of customers."""
        return await self._rows(sql.FIRSTS)

    async def _places(self, definition: Definition, wanted: AnalysisFilter) -> list[Place]:
        stages = [stage.name for stage in definition.stages]
        rows = await self._of(definition, sql.PLACES, stages=stages, **_entered(wanted))
        return [
            Place(
                None if row["furthest"] is None else stages[row["furthest"] - 1],
                row["stage"],
                row["stalled"],
                row["customers"],
            )
            for row in rows
        ]

    async def _of(self, definition: Definition, template: str, **parameters: Any) -> list[dict[str, Any]]:
        """The rows of a statement about a lifecycle. Stages of earlier versions have their present names.

        Filters that are None add no condition.
        """
        meant = await self._lifecycles.meant(definition)
        first_touchpoint = parameters["channel"] is not None or parameters["source"] is not None
        entered = parameters.get("entered_since") is not None or parameters.get("entered_until") is not None
        statement = sql.statement(template, first_touchpoint=first_touchpoint, entered=entered)
        return await self._rows_over_all(statement, name=definition.lifecycle, **meant, **parameters)

    async def _now(self) -> int:
        rows = await self._rows(NOW)
        return int(rows[0]["now"])
