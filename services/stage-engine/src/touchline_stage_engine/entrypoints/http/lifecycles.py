"""Routes about running lifecycles, and their stalled and slipping customers."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from touchline_runtime.http.parameters import refuse
from touchline_runtime.http.problems import Problem
from touchline_schemas.times import from_micros, to_micros, to_wire

from touchline_stage_engine.application.queries.ports import LifecycleQueries
from touchline_stage_engine.application.queries.values import RunningLifecycle
from touchline_stage_engine.entrypoints.http.answers import (
    Lifecycle,
    LifecycleInFull,
    Page,
    Slipping,
    Stalled,
    problems,
)
from touchline_stage_engine.entrypoints.http.parameters import (
    DEFAULT,
    Cursor,
    LifecycleName,
    Limit,
    Since,
    storable,
)

NOT_FOUND = problems(not_found="the lifecycle does not run")
SLIPPED_WITHIN = timedelta(days=90)


def lifecycles_router(queries: LifecycleQueries) -> APIRouter:
    """``/v1/lifecycles``, ``/v1/lifecycles/{name}`` and ``…/{stalled,slipping}``."""
    router = APIRouter(tags=["lifecycles"])

    async def running(name: str) -> RunningLifecycle:
        found = await queries.running(storable(name, "lifecycle"))
        if not found:
            names = ", ".join(found.definition.lifecycle for found in await queries.running()) or "none"
            raise Problem(404, f"lifecycle {name!r} does not run; running lifecycles: {names}", type="not-found")
        return found[0]

    @router.get(
        "/v1/lifecycles",
        summary="The running lifecycles and their stages",
        responses=problems(),
        response_model=Page[Lifecycle],
    )
    async def lifecycles() -> dict[str, Any]:
        return {"items": [_described(found) for found in await queries.running()], "next": None}

    @router.get(
        "/v1/lifecycles/{name}",
        summary="One lifecycle: definition and versions",
        responses=NOT_FOUND,
        response_model=LifecycleInFull,
    )
    async def lifecycle(name: LifecycleName) -> dict[str, Any]:
        one = await running(name)
        return _described(one) | {"definition": one.text, "versions": await queries.versions(name)}

    @router.get(
        "/v1/lifecycles/{name}/stalled",
        summary="Stalled customers, the longest inactive first",
        responses=NOT_FOUND,
        response_model=Page[Stalled],
    )
    async def stalled(
        name: LifecycleName,
        stage: Annotated[str | None, Query(max_length=200, description="only in this stage")] = None,
        limit: Limit = DEFAULT,
        cursor: Cursor = None,
    ) -> dict[str, Any]:
        one = await running(name)
        if stage is not None and stage not in (known := await queries.stages(one.definition)):
            refuse("stage", stage, known)
        return (await queries.stalled(name, stage, limit, cursor)).to_json()

    @router.get(
        "/v1/lifecycles/{name}/slipping",
        summary="Customers at risk: stalled or slipped back, worst first",
        description="Customers who are stalled, or whose last move was a regress or a lapse at or after `since` "
        "(default: 90 days ago). Ordered by stall level, then by time, the worst first.",
        responses=NOT_FOUND,
        response_model=Page[Slipping],
    )
    async def slipping(
        name: LifecycleName, since: Since = None, limit: Limit = DEFAULT, cursor: Cursor = None
    ) -> dict[str, Any]:
        await running(name)
        slipped_since = to_micros(since or datetime.now(UTC) - SLIPPED_WITHIN)
        return (await queries.slipping(name, slipped_since, limit, cursor)).to_json()

    return router


def _described(one: RunningLifecycle) -> dict[str, Any]:
    definition = one.definition
    return {
        "name": definition.lifecycle,
        "version": definition.version,
        "managed_by": one.managed_by,
        "title": definition.label,
        "about": definition.about,
        "cyclic": definition.cyclic,
        "stages": [{"name": stage.name, "title": stage.label, "about": stage.about} for stage in definition.stages],
        "off_path": [{"name": stage.name, "title": stage.label, "about": stage.about} for stage in definition.off_path],
        "effective_from": None if one.effective_from is None else to_wire(from_micros(one.effective_from)),
        "started_at": to_wire(from_micros(one.started_at)),
    }
