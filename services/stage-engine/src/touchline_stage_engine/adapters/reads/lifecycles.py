"""What a lifecycle looks like over all customers: funnel, flows, who is stalled, where the company's effort goes."""

from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from touchline_schemas.times import from_micros, to_wire

from touchline_stage_engine.adapters.reads.pages import Page, decode_cursor, page_of
from touchline_stage_engine.core.analysis import funnel_steps
from touchline_stage_engine.core.definition import Definition
from touchline_stage_engine.core.reading import read_definition

# The newest version of each lifecycle that runs.
NEWEST = text("""
    SELECT DISTINCT ON (name) name, version, text, effective_from, started_at
    FROM lifecycles
    WHERE running AND (CAST(:name AS text) IS NULL OR name = :name)
    ORDER BY name, version DESC
""")

# Every version of a lifecycle that was ever started.
VERSIONS = text("""
    SELECT version, effective_from, started_at, running, fingerprint FROM lifecycles WHERE name = :name ORDER BY version
""")

# Customers by the stage they are in now.
NOW = text("""
    SELECT stage, count(*) AS customers, count(*) FILTER (WHERE stalled_level > 0) AS stalled
    FROM stages WHERE lifecycle = :name GROUP BY stage
""")

# Customers by the furthest stage of the path they ever were in, and how long stages were stayed in.
FURTHEST = text("""
    SELECT furthest, count(*) AS customers
    FROM (
        SELECT customer_id, max(array_position(CAST(:stages AS text[]), stage)) AS furthest
        FROM history WHERE lifecycle = :name AND fact = 'move' GROUP BY customer_id
    ) AS reached
    WHERE furthest IS NOT NULL
    GROUP BY furthest
""")
STAYS = text("""
    SELECT from_stage AS stage, percentile_cont(0.5) WITHIN GROUP (ORDER BY previous_stage_seconds) AS median_seconds
    FROM history
    WHERE lifecycle = :name AND fact = 'move' AND from_stage IS NOT NULL
    GROUP BY from_stage
""")

# Moves between stages, backward ones too, in a span of event time.
FLOWS = text("""
    SELECT from_stage, stage AS to_stage, move, count(*) AS moves, count(DISTINCT customer_id) AS customers,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY previous_stage_seconds) AS median_seconds
    FROM history
    WHERE lifecycle = :name AND fact = 'move'
      AND (CAST(:since AS bigint) IS NULL OR occurred_at >= :since)
      AND (CAST(:until AS bigint) IS NULL OR occurred_at < :until)
    GROUP BY from_stage, stage, move
    ORDER BY moves DESC, from_stage NULLS FIRST, stage, move
""")

# Stalled customers, the longest without activity first.
STALLED = text("""
    SELECT customer_id, stage, entered_at, stalled_level, stalled_since
    FROM stages
    WHERE lifecycle = :name AND stalled_level > 0
      AND (CAST(:stage AS text) IS NULL OR stage = :stage)
      AND (CAST(:since AS bigint) IS NULL OR (stalled_since, customer_id) > (:since, CAST(:after AS text) COLLATE "C"))
    ORDER BY stalled_since, customer_id
    LIMIT :limit
""")

# Customers who are stalled, or whose last move was backward; worst first: by level of stall, then the longest since.
# Reads the lifecycle's recent backward moves by their index, and its customers once.
SLIPPING = text("""
    WITH slipped AS (
        SELECT h.customer_id, h.from_stage, h.move, h.occurred_at, h.reason_text
        FROM history h
        WHERE h.lifecycle = :name AND h.occurred_at >= :slipped_since
          AND h.fact = 'move' AND h.move IN ('regress', 'lapse')
          AND NOT EXISTS (
              SELECT FROM history n
              WHERE n.customer_id = h.customer_id AND n.lifecycle = h.lifecycle AND n.no > h.no AND n.fact = 'move'
          )
    ),
    worst AS (
        SELECT s.customer_id, s.stage, s.entered_at, s.stalled_level, -s.stalled_level AS rank,
               coalesce(s.stalled_since, slipped.occurred_at) AS since,
               slipped.from_stage, slipped.move, slipped.occurred_at AS slipped_at, slipped.reason_text
        FROM stages s LEFT JOIN slipped ON slipped.customer_id = s.customer_id
        WHERE s.lifecycle = :name AND (s.stalled_level > 0 OR slipped.customer_id IS NOT NULL)
    )
    SELECT * FROM worst
    WHERE CAST(:rank AS bigint) IS NULL
       OR (rank, since, customer_id) > (:rank, CAST(:since AS bigint), CAST(:after AS text) COLLATE "C")
    ORDER BY rank, since, customer_id
    LIMIT :limit
""")

# Touchpoints by the stage they found the customer in: the one that causes a move counts in the stage it leaves.
EFFORT = text("""
    WITH spans AS (
        SELECT customer_id, stage, occurred_at AS began, from_stage IS NULL AS entered,
               lead(occurred_at) OVER (PARTITION BY customer_id ORDER BY no) AS ended
        FROM history WHERE lifecycle = :name AND fact = 'move'
    )
    SELECT spans.stage,
           count(*) FILTER (WHERE t.flags & 4 = 4) AS outbound,
           count(*) FILTER (WHERE t.flags & 4 = 0) AS inbound,
           count(*) FILTER (WHERE t.type = ANY(:feedback)) AS feedback,
           count(*) FILTER (WHERE t.type = 'feedback_asked') AS feedback_asked,
           -- Longer than a year is no meeting, and would overflow the sum some day.
           coalesce(sum(CASE WHEN json_typeof(t.properties -> 'minutes') = 'number'
                              AND abs(CAST(t.properties ->> 'minutes' AS double precision)) <= 525600
                             THEN CAST(t.properties ->> 'minutes' AS double precision) END), 0) AS minutes,
           count(DISTINCT t.customer_id) AS customers
    FROM spans
    JOIN touchpoints t
      ON t.customer_id = spans.customer_id
     AND (t.occurred_at > spans.began OR (spans.entered AND t.occurred_at = spans.began))
     AND (spans.ended IS NULL OR t.occurred_at <= spans.ended)
    WHERE t.flags & 1 = 0
    GROUP BY spans.stage
""")

FEEDBACK = ["survey_answered", "review_posted", "testimonial_given", "complaint_made"]
"""Touchpoints in which the customer says what they think."""


class Running(NamedTuple):
    """The newest version of a lifecycle that runs."""

    definition: Definition
    text: str
    effective_from: int | None
    started_at: int


class LifecycleReads:
    """Queries about all customers of a lifecycle, over SQLAlchemy."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def running(self, name: str | None = None) -> list[Running]:
        """The lifecycles that run, in the order of their names; with a name, that one or none."""
        return [
            Running(read_definition(row["text"], row["name"]), row["text"], row["effective_from"], row["started_at"])
            for row in await self._rows(NEWEST, name=name)
        ]

    async def versions(self, name: str) -> list[dict[str, Any]]:
        """Every version of a lifecycle that was ever started, oldest first."""
        return [
            {
                "version": row["version"],
                "effective_from": _time(row["effective_from"]),
                "started_at": _time(row["started_at"]),
                "running": row["running"],
                "sha256": row["fingerprint"],
            }
            for row in await self._rows(VERSIONS, name=name)
        ]

    async def customers_now(self, name: str) -> dict[str, dict[str, int]]:
        """Stage → customers in it now, and how many of them are stalled."""
        rows = await self._rows(NOW, name=name)
        return {row["stage"]: {"customers": row["customers"], "stalled": row["stalled"]} for row in rows}

    async def funnel(self, definition: Definition) -> list[dict[str, Any]]:
        """The stages in order: customers now, how many ever came this far, conversions, and median time stayed."""
        name, stages = definition.lifecycle, [stage.name for stage in definition.stages]
        now = await self.customers_now(name)
        furthest = {row["furthest"]: row["customers"] for row in await self._rows(FURTHEST, name=name, stages=stages)}
        stays = {row["stage"]: row["median_seconds"] for row in await self._rows(STAYS, name=name)}
        labels = {stage.name: stage.label for stage in definition.every_stage}
        steps = funnel_steps(stages, {stages[place - 1]: count for place, count in furthest.items()})
        nobody = {"customers": 0, "stalled": 0}
        return [
            {
                "stage": step.stage,
                "title": labels[step.stage],
                **now.get(step.stage, nobody),
                "reached": step.reached,
                "conversion_from_previous": step.from_previous,
                "conversion_overall": step.overall,
                "median_seconds": stays.get(step.stage),
            }
            for step in steps
        ]

    async def off_path(self, definition: Definition) -> list[dict[str, Any]]:
        """The stages beside the order, with the customers in them now."""
        now = await self.customers_now(definition.lifecycle)
        nobody = {"customers": 0, "stalled": 0}
        return [
            {"stage": stage.name, "title": stage.label, **now.get(stage.name, nobody)} for stage in definition.off_path
        ]

    async def flows(self, name: str, since: int | None, until: int | None) -> list[dict[str, Any]]:
        """Moves from stage to stage by kind, the most frequent first."""
        return await self._rows(FLOWS, name=name, since=since, until=until)

    async def stalled(self, name: str, stage: str | None, limit: int, cursor: str | None) -> Page:
        """Stalled customers, those longest without activity first."""
        since, after = decode_cursor(cursor, int, str) or (None, None)
        rows = await self._rows(STALLED, name=name, stage=stage, since=since, after=after, limit=limit + 1)
        items = [
            {
                "customer_id": row["customer_id"],
                "stage": row["stage"],
                "entered_at": _time(row["entered_at"]),
                "stalled_level": row["stalled_level"],
                "since": _time(row["stalled_since"]),
                "_since": row["stalled_since"],
                "_customer": row["customer_id"],
            }
            for row in rows
        ]
        return page_of(items, limit, ("_since", "_customer"))

    async def slipping(self, name: str, slipped_since: int, limit: int, cursor: str | None) -> Page:
        """Stalled customers, and those whose last move was backward (at or after an instant), worst first."""
        rank, since, after = decode_cursor(cursor, int, int, str) or (None, None, None)
        rows = await self._rows(
            SLIPPING, name=name, slipped_since=slipped_since, rank=rank, since=since, after=after, limit=limit + 1
        )
        items = [
            {
                "customer_id": row["customer_id"],
                "stage": row["stage"],
                "entered_at": _time(row["entered_at"]),
                "stalled_level": row["stalled_level"],
                "since": _time(row["since"]),
                "slipped_from": row["from_stage"],
                "slipped_by": row["move"],
                "slipped_at": _time(row["slipped_at"]),
                "reason": row["reason_text"],
                "_rank": row["rank"],
                "_since": row["since"],
                "_customer": row["customer_id"],
            }
            for row in rows
        ]
        return page_of(items, limit, ("_rank", "_since", "_customer"))

    async def effort(self, definition: Definition) -> list[dict[str, Any]]:
        """By stage: what the company did, what customers did, and how much of it was feedback."""
        rows = {row["stage"]: row for row in await self._rows(EFFORT, name=definition.lifecycle, feedback=FEEDBACK)}
        told = []
        for stage in definition.every_stage:
            row = rows.get(stage.name, {})
            outbound, inbound = row.get("outbound", 0), row.get("inbound", 0)
            told.append(
                {
                    "stage": stage.name,
                    "title": stage.label,
                    "customers": row.get("customers", 0),
                    "outbound": outbound,
                    "inbound": inbound,
                    "feedback": row.get("feedback", 0),
                    "feedback_asked": row.get("feedback_asked", 0),
                    "minutes": row.get("minutes", 0.0),
                    "listening_ratio": inbound / outbound if outbound else None,
                }
            )
        return told

    async def _rows(self, statement: Any, **parameters: Any) -> list[dict[str, Any]]:
        async with self._engine.connect() as connection:
            result = await connection.execute(statement, parameters)
            return [dict(row) for row in result.mappings()]


def _time(micros: int | None) -> str | None:
    return None if micros is None else to_wire(from_micros(micros))
