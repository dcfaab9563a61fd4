"""Routes about a lifecycle over all customers: funnel, flows, population, time in stage, cohorts and others."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from touchline_runtime.answer_cache import AnswerCache
from touchline_runtime.http.problems import Problem
from touchline_schemas.times import from_micros, to_micros, to_wire

from touchline_stage_engine.application.queries.ports import AnalysisQueries, LifecycleQueries
from touchline_stage_engine.application.queries.values import AnalysisFilter
from touchline_stage_engine.core.analysis.explanation import rules_in_words
from touchline_stage_engine.core.analysis.funnel import PUBLISHED_CONVERSION
from touchline_stage_engine.core.analysis.population import DAY
from touchline_stage_engine.core.analysis.survival import Curve, thinned
from touchline_stage_engine.core.definitions.model import Definition
from touchline_stage_engine.entrypoints.http.analysis_answers import (
    COMPUTING,
    Cohorts,
    DropOut,
    EffortComputed,
    FirstTouchpoints,
    FlowsComputed,
    FunnelComputed,
    Population,
    RulesOfLifecycle,
    TimeInStage,
)
from touchline_stage_engine.entrypoints.http.answers import problems
from touchline_stage_engine.entrypoints.http.parameters import LifecycleName, Since, Until, micros_or_none, storable

ANSWERS = {**problems(not_found="the lifecycle does not run"), **COMPUTING}
MAX_DAYS = 800
MAX_POINTS = 200
_DAY_SECONDS = 86_400.0

Channel = Annotated[
    str | None, Query(max_length=200, description="only customers whose first touchpoint was on this channel")
]
Source = Annotated[
    str | None, Query(max_length=200, description="only customers whose first touchpoint came from this source")
]


async def asked(
    since: Since = None, until: Until = None, channel: Channel = None, source: Source = None
) -> AnalysisFilter:
    """The customers that a route is asked about.

    Raises:
        Problem: a channel or source contains what PostgreSQL cannot store.
    """
    for text in (channel, source):
        if text is not None:
            storable(text, "channel or source")
    return AnalysisFilter(micros_or_none(since), micros_or_none(until), channel, source)


Asked = Annotated[AnalysisFilter, Depends(asked)]


def analysis_router(lifecycles: LifecycleQueries, queries: AnalysisQueries, answers: AnswerCache) -> APIRouter:
    """``/v1/lifecycles/{name}/{funnel,flows,population,time-in-stage,cohorts,drop-out,effort}``."""
    router = APIRouter(tags=["lifecycles"])

    async def running(name: LifecycleName) -> Definition:
        found = await lifecycles.running(storable(name, "lifecycle"))
        if not found:
            names = ", ".join(found.definition.lifecycle for found in await lifecycles.running()) or "none"
            raise Problem(404, f"lifecycle {name!r} does not run; running lifecycles: {names}", type="not-found")
        return found[0].definition

    async def answer(
        kind: str, definition: Definition, key: Any, compute: Callable[[], Awaitable[Any]]
    ) -> tuple[Any, dict[str, Any]]:
        value, at = await answers.get((kind, definition.lifecycle, definition.version, key), compute)
        return value, {"lifecycle": definition.lifecycle, "as_of": to_wire(datetime.fromtimestamp(at, UTC))}

    Running = Annotated[Definition, Depends(running)]  # noqa: N806  (a type)

    @router.get(
        "/v1/lifecycles/{name}/funnel",
        summary="How many customers reached each stage",
        description="Of the customers who entered in the span, `reached` counts those who ever were in the stage or in "
        "a later one; conversions are shares of `reached`; `customers` and `stalled` are in the stage now. "
        "`median_seconds`: the time after which half have left, with those still inside as censored (see "
        "time-in-stage). `published_conversion` holds published averages by industry to compare with.",
        responses=ANSWERS,
        response_model=FunnelComputed,
    )
    async def funnel(one: Running, filtered: Asked) -> dict[str, Any]:
        found, common = await answer("funnel", one, filtered, lambda: queries.funnel(one, filtered))
        return {**common, "version": one.version, "published_conversion": PUBLISHED_CONVERSION, **found}

    @router.get(
        "/v1/lifecycles/{name}/flows",
        summary="Moves between stages, including backward moves",
        responses=ANSWERS,
        response_model=FlowsComputed,
    )
    async def flows(one: Running, filtered: Asked) -> dict[str, Any]:
        items, common = await answer("flows", one, filtered, lambda: queries.flows(one, filtered))
        return {**common, "items": items, "next": None}

    @router.get(
        "/v1/lifecycles/{name}/population",
        summary="People in each stage at the end of each day",
        description=f"Days are UTC. Default: the last 90 days; at most {MAX_DAYS}.",
        responses=ANSWERS,
        response_model=Population,
    )
    async def population(one: Running, filtered: Asked) -> dict[str, Any]:
        now = to_micros(datetime.now(UTC))
        last = (now if filtered.until is None else min(filtered.until, now)) // DAY
        first = last - 89 if filtered.since is None else filtered.since // DAY
        if not 0 <= last - first < MAX_DAYS:
            raise Problem(422, f"since and until: at most {MAX_DAYS} days, and since before until", type="too-long")
        filtered = replace(filtered, since=None, until=None)
        days, common = await answer(
            "population", one, (filtered, first, last), lambda: queries.population(one, filtered, first, last)
        )
        return {
            **common,
            "days": [f"{from_micros(day * DAY):%Y-%m-%d}" for day in range(first, last + 1)],
            "stages": [
                {"stage": stage.name, "title": stage.label, "customers": days[stage.name]} for stage in one.every_stage
            ],
        }

    @router.get(
        "/v1/lifecycles/{name}/time-in-stage",
        summary="How long customers stay in each stage (Kaplan-Meier)",
        description="Of stays that began in the span: the share still inside after so many days, with 95 % limits. "
        "Customers who are still inside are censored, not left out. Lengths are cut to the second below an hour, to "
        f"the minute below a week, else to the hour; at most about {MAX_POINTS} points a curve.",
        responses=ANSWERS,
        response_model=TimeInStage,
    )
    async def time_in_stage(one: Running, filtered: Asked) -> dict[str, Any]:
        curves, common = await answer("time_in_stage", one, filtered, lambda: queries.stays(one, filtered))
        stages = [_stage_time(stage.name, stage.label, curves[stage.name]) for stage in one.every_stage]
        return {**common, "stages": stages}

    @router.get(
        "/v1/lifecycles/{name}/cohorts",
        summary="By month of entry: the share that reached a stage, month by month",
        description="Of customers who entered in the span. `shares[n]`: those who reached the stage, or a later one, "
        "within n + 1 months of entry. `stage`: the second of the path unless said.",
        responses=ANSWERS,
        response_model=Cohorts,
    )
    async def cohorts(
        one: Running,
        filtered: Asked,
        stage: Annotated[str | None, Query(max_length=200, description="a stage of the path")] = None,
    ) -> dict[str, Any]:
        stages = [each.name for each in one.stages]
        wanted = stage or stages[min(1, len(stages) - 1)]
        if wanted not in stages:
            order = ", ".join(stages)
            raise Problem(404, f"{one.lifecycle} has no stage {wanted!r} in its order: {order}", type="not-found")
        month = f"{datetime.now(UTC):%Y-%m}"
        found, common = await answer(
            "cohorts", one, (wanted, filtered, month), lambda: queries.cohorts(one, wanted, filtered, month)
        )
        return {**common, "stage": wanted, "cohorts": [cohort._asdict() for cohort in found]}

    @router.get(
        "/v1/lifecycles/{name}/drop-out",
        summary="Where customers drop out, and since when",
        description="Of customers who entered in the span: `lost` are those whose furthest stage it is and who are "
        "stalled in it, or have left it backward. `months`: arrivals, first stalls and moves back by month.",
        responses=ANSWERS,
        response_model=DropOut,
    )
    async def drop_out(one: Running, filtered: Asked) -> dict[str, Any]:
        found, common = await answer("drop_out", one, filtered, lambda: queries.drop_out(one, filtered))
        return {**common, **found}

    @router.get(
        "/v1/lifecycles/{name}/effort",
        summary="What the company and its customers did, by stage",
        description="`outbound` and `inbound` touchpoints, `minutes` of those that say so (properties.minutes), "
        "`feedback` among the inbound ones, and `listening_ratio`: inbound for each outbound.",
        responses=ANSWERS,
        response_model=EffortComputed,
    )
    async def effort(one: Running, filtered: Asked) -> dict[str, Any]:
        stages, common = await answer("effort", one, filtered, lambda: queries.effort(one, filtered))
        return {**common, "stages": stages}

    @router.get(
        "/v1/lifecycles/{name}/rules",
        summary="The rules of each stage in words",
        responses=problems(not_found="the lifecycle does not run"),
        response_model=RulesOfLifecycle,
    )
    async def rules(one: Running) -> dict[str, Any]:
        return {"lifecycle": one.lifecycle, "version": one.version, "stages": rules_in_words(one)}

    @router.get(
        "/v1/first-touchpoints",
        summary="Channels and sources of customers' first touchpoints",
        description="The values for the parameters channel and source of the other routes.",
        responses={**problems(), **COMPUTING},
        response_model=FirstTouchpoints,
    )
    async def first_touchpoints() -> dict[str, Any]:
        items, at = await answers.get(("first_touchpoints",), queries.first_touchpoints)
        return {"items": items, "as_of": to_wire(datetime.fromtimestamp(at, UTC))}

    return router


def _stage_time(stage: str, title: str, curve: Curve) -> dict[str, Any]:
    return {
        "stage": stage,
        "title": title,
        "stays": curve.stays,
        "left": curve.left,
        "inside": curve.stays - curve.left,
        "median_seconds": curve.median,
        "median_lower_seconds": curve.median_lower,
        "median_upper_seconds": curve.median_upper,
        "curve": [
            {
                "days": point.length / _DAY_SECONDS,
                "share": point.share,
                "lower": point.lower,
                "upper": point.upper,
                "at_risk": point.at_risk,
            }
            for point in thinned(curve.points, MAX_POINTS)
        ],
    }
