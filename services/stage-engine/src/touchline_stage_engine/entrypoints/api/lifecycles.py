"""Routes about a lifecycle over all customers."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from touchline_runtime.problems import Problem
from touchline_schemas.times import from_micros, to_micros, to_wire

from touchline_stage_engine.adapters.reads.lifecycles import LifecycleReads, Running
from touchline_stage_engine.core.analysis import PUBLISHED_CONVERSION
from touchline_stage_engine.entrypoints.api.answers import (
    Effort,
    Flows,
    Funnel,
    Lifecycle,
    LifecycleInFull,
    Page,
    Slipping,
    Stalled,
    problems,
)
from touchline_stage_engine.entrypoints.api.parameters import (
    DEFAULT,
    Cursor,
    LifecycleName,
    Limit,
    Since,
    Until,
    micros_or_none,
    storable,
)

NOT_FOUND = problems(not_found="no such lifecycle runs")
SLIPPED_WITHIN = timedelta(days=90)


def lifecycles_router(reads: LifecycleReads) -> APIRouter:
    """``/v1/lifecycles`` and ``/v1/lifecycles/{name}/{funnel,flows,stalled,effort}``."""
    router = APIRouter(tags=["lifecycles"])

    async def running(name: str) -> Running:
        found = await reads.running(storable(name, "lifecycle"))
        if not found:
            names = ", ".join(one.definition.lifecycle for one in await reads.running()) or "none"
            raise Problem(404, f"no lifecycle {name!r} runs here; those that do: {names}", type="not-found")
        return found[0]

    @router.get(
        "/v1/lifecycles",
        summary="The lifecycles that run, with their stages",
        responses=problems(),
        response_model=Page[Lifecycle],
    )
    async def lifecycles() -> dict[str, Any]:
        return {"items": [_described(one) for one in await reads.running()], "next": None}

    @router.get(
        "/v1/lifecycles/{name}",
        summary="One lifecycle: definition and versions",
        responses=NOT_FOUND,
        response_model=LifecycleInFull,
    )
    async def lifecycle(name: LifecycleName) -> dict[str, Any]:
        one = await running(name)
        return _described(one) | {"definition": one.text, "versions": await reads.versions(name)}

    @router.get(
        "/v1/lifecycles/{name}/funnel",
        summary="How many customers came how far",
        description="`reached` counts customers who ever were in the stage or in a later one; conversions are shares "
        "of `reached`. `published_conversion` holds published averages by industry to compare with.",
        responses=NOT_FOUND,
        response_model=Funnel,
    )
    async def funnel(name: LifecycleName) -> dict[str, Any]:
        one = await running(name)
        return {
            "lifecycle": name,
            "version": one.definition.version,
            "stages": await reads.funnel(one.definition),
            "off_path": await reads.off_path(one.definition),
            "published_conversion": PUBLISHED_CONVERSION,
        }

    @router.get(
        "/v1/lifecycles/{name}/flows",
        summary="Moves between stages, backward ones too",
        responses=NOT_FOUND,
        response_model=Flows,
    )
    async def flows(name: LifecycleName, since: Since = None, until: Until = None) -> dict[str, Any]:
        await running(name)
        items = await reads.flows(name, micros_or_none(since), micros_or_none(until))
        return {"lifecycle": name, "items": items, "next": None}

    @router.get(
        "/v1/lifecycles/{name}/stalled",
        summary="Stalled customers, those longest without activity first",
        responses=NOT_FOUND,
        response_model=Page[Stalled],
    )
    async def stalled(
        name: LifecycleName,
        stage: Annotated[str | None, Query(max_length=200, description="in this stage alone")] = None,
        limit: Limit = DEFAULT,
        cursor: Cursor = None,
    ) -> dict[str, Any]:
        await running(name)
        if stage is not None:
            storable(stage, "stage")
        return (await reads.stalled(name, stage, limit, cursor)).to_json()

    @router.get(
        "/v1/lifecycles/{name}/slipping",
        summary="Stalled customers and those who slipped back, worst first",
        description="Whoever is stalled, or whose last move was a regress or a lapse at or after `since` (90 days ago "
        "unless said). The higher stall level is worse, then the longer time.",
        responses=NOT_FOUND,
        response_model=Page[Slipping],
    )
    async def slipping(
        name: LifecycleName, since: Since = None, limit: Limit = DEFAULT, cursor: Cursor = None
    ) -> dict[str, Any]:
        await running(name)
        slipped_since = to_micros(since or datetime.now(UTC) - SLIPPED_WITHIN)
        return (await reads.slipping(name, slipped_since, limit, cursor)).to_json()

    @router.get(
        "/v1/lifecycles/{name}/effort",
        summary="What the company and its customers did, by stage",
        description="`outbound` and `inbound` touchpoints, `minutes` of those that say so (properties.minutes), "
        "`feedback` among the inbound ones, and `listening_ratio`: inbound for each outbound.",
        responses=NOT_FOUND,
        response_model=Effort,
    )
    async def effort(name: LifecycleName) -> dict[str, Any]:
        one = await running(name)
        return {"lifecycle": name, "stages": await reads.effort(one.definition)}

    return router


def _described(one: Running) -> dict[str, Any]:
    definition = one.definition
    return {
        "name": definition.lifecycle,
        "version": definition.version,
        "title": definition.label,
        "about": definition.about,
        "cyclic": definition.cyclic,
        "stages": [{"name": stage.name, "title": stage.label, "about": stage.about} for stage in definition.stages],
        "off_path": [{"name": stage.name, "title": stage.label, "about": stage.about} for stage in definition.off_path],
        "effective_from": None if one.effective_from is None else to_wire(from_micros(one.effective_from)),
        "started_at": to_wire(from_micros(one.started_at)),
    }
