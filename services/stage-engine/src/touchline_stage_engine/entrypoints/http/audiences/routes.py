"""Routes of audiences: saved filters of customers, and their members."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from touchline_runtime.audit.routes import actor_of
from touchline_runtime.exports.csv_text import csv_lines
from touchline_runtime.exports.first_item import with_first_item_read
from touchline_runtime.http.parameters import WITHOUT_NUL
from touchline_runtime.http.problems import Problem
from touchline_runtime.publishing.answers import refused
from touchline_runtime.publishing.publication import PublicationRefusedError

from touchline_stage_engine.application.audiences.management import Draft, change, create, delete
from touchline_stage_engine.application.audiences.ports import AudienceQueries, AudienceStore
from touchline_stage_engine.application.audiences.values import StoredAudience
from touchline_stage_engine.application.queries.ports import LifecycleQueries
from touchline_stage_engine.application.queries.values import MAX_LIMIT
from touchline_stage_engine.core.audiences.audience import FaultyAudienceError, FilterFault, read_filter
from touchline_stage_engine.entrypoints.http.answers import Page, problems
from touchline_stage_engine.entrypoints.http.audiences.answers import (
    Audience,
    ChangedAudience,
    DeletedAudience,
    Members,
    NewAudience,
    SavedAudience,
    audience_json,
)
from touchline_stage_engine.entrypoints.http.parameters import DEFAULT, Cursor, Limit, storable

NOT_FOUND = problems(not_found="no such audience")
CONFLICT = problems(not_found="no such audience", conflict="another version is in force than the base")
Name = Annotated[str, Path(description="name of an audience", examples=["quiet-big-buyers"])]
COLUMNS = (
    "customer_id", "email", "name", "value", "purchases", "last_purchase_at", "last_seen_at", "first_seen_at",
    "first_channel", "first_source", "member_since",
)  # fmt: skip


def audiences_router(
    store: AudienceStore, queries: AudienceQueries, lifecycles: LifecycleQueries, partitions: int
) -> APIRouter:
    """``/v1/audiences``, ``…/{name}``, ``…/{name}/members``."""
    router = APIRouter(tags=["audiences"])

    async def present(name: str) -> StoredAudience:
        found = await queries.find(storable(name, "audience"))
        if found is None:
            raise Problem(404, f"there is no audience {name!r}", type="not-found")
        return found

    async def check_names(written: dict[str, Any]) -> None:
        """Refuse a filter that is wrong, a lifecycle that does not run, and an unknown stage.

        Raises:
            FaultyAudienceError: with every fault.
        """
        wanted = read_filter(written)
        running = [one.definition for one in await lifecycles.running()]
        names = [one.lifecycle for one in running]
        if wanted.lifecycle is not None and wanted.lifecycle not in names:
            message = f"there is no lifecycle {wanted.lifecycle!r}; there are: {', '.join(sorted(names))}"
            raise FaultyAudienceError([FilterFault("filter.lifecycle", message)])
        if wanted.stage is not None:
            asked = [one for one in running if wanted.lifecycle in (None, one.lifecycle)]
            known = list(dict.fromkeys([stage for one in asked for stage in await lifecycles.stages(one)]))
            if wanted.stage not in known:
                message = f"there is no stage {wanted.stage!r}; there are: {', '.join(known)}"
                raise FaultyAudienceError([FilterFault("filter.stage", message)])

    @router.get(
        "/v1/audiences",
        summary="Audiences by name, with the number of members",
        responses=problems(),
        response_model=Page[Audience],
    )
    async def listed(limit: Limit = DEFAULT, cursor: Cursor = None) -> dict[str, Any]:
        found, following = await queries.listed(limit, cursor)
        return {"items": [audience_json(one, partitions) for one in found], "next": following}

    @router.post(
        "/v1/audiences",
        summary="Add an audience: running engines evaluate it within seconds",
        description="Every member enters: one `touchline.audience-entered` each, on `touchline.audience-changes.v1`.",
        status_code=201,
        responses=problems(conflict="there is an audience of this name"),
        response_model=Audience,
    )
    async def added(body: NewAudience, request: Request) -> Response:
        try:
            await check_names(body.filter)
            draft = Draft(body.name, body.title, body.description, body.filter, body.comment)
            saved = await create(store, draft, actor_of(request))
        except FaultyAudienceError as error:
            raise _faulty(error) from None
        except PublicationRefusedError as error:
            raise refused(error) from None
        return JSONResponse(audience_json(saved, partitions), 201, {"Location": f"/v1/audiences/{saved.name}"})

    @router.get("/v1/audiences/{name}", summary="One audience", responses=NOT_FOUND, response_model=Audience)
    async def one(name: Name) -> dict[str, Any]:
        return audience_json(await present(name), partitions)

    @router.put(
        "/v1/audiences/{name}",
        summary="Replace an audience: members enter and leave within seconds",
        responses=CONFLICT,
        response_model=SavedAudience,
    )
    async def changed(name: Name, body: ChangedAudience, request: Request) -> dict[str, Any]:
        draft = Draft(storable(name, "audience"), body.title, body.description, body.filter, body.comment)
        try:
            await check_names(body.filter)
            saved, is_changed = await change(store, draft, body.base, actor_of(request))
        except FaultyAudienceError as error:
            raise _faulty(error) from None
        except PublicationRefusedError as error:
            raise refused(error) from None
        except LookupError:
            raise Problem(404, f"there is no audience {name!r}", type="not-found") from None
        return audience_json(saved, partitions) | {"changed": is_changed}

    @router.delete(
        "/v1/audiences/{name}",
        summary="Delete an audience: every member leaves",
        responses=CONFLICT,
        response_model=DeletedAudience,
    )
    async def deleted(
        name: Name,
        request: Request,
        base: Annotated[int | None, Query(ge=1, le=2_147_483_647, description="the version that was seen")] = None,
        reason: Annotated[str | None, Query(max_length=2000), WITHOUT_NUL] = None,
    ) -> dict[str, Any]:
        try:
            gone = await delete(store, storable(name, "audience"), base, actor_of(request), reason)
        except PublicationRefusedError as error:
            raise refused(error) from None
        except LookupError:
            raise Problem(404, f"there is no audience {name!r}", type="not-found") from None
        return {"name": gone.name, "version": gone.version, "members": gone.members}

    @router.get(
        "/v1/audiences/{name}/members",
        summary="Members of an audience, by id",
        description="`format=csv` exports every member. A customer who has just entered may have no name yet.",
        responses={200: {"content": {"text/csv": {}}}, **NOT_FOUND},
        response_model=Members,
    )
    async def members(
        name: Name,
        format: Annotated[Literal["json", "csv"], Query()] = "json",  # noqa: A002
        limit: Limit = DEFAULT,
        cursor: Cursor = None,
    ) -> Any:
        audience = await present(name)
        if format == "csv":
            lines = await with_first_item_read(_csv(queries, audience.id))
            headers = {"Content-Disposition": f'attachment; filename="{audience.name}.csv"'}
            return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)
        page = await queries.members(audience.id, limit, cursor)
        return page.to_json() | {"total": audience.members}

    return router


async def _csv(queries: AudienceQueries, audience: int) -> AsyncIterator[str]:
    yield csv_lines([COLUMNS])
    cursor = None
    while True:
        page = await queries.members(audience, MAX_LIMIT, cursor)
        yield csv_lines([[member[column] for column in COLUMNS] for member in page.items])
        if (cursor := page.next) is None:
            return


def _faulty(error: FaultyAudienceError) -> Problem:
    """The answer to an audience that is wrong."""
    errors = [{"path": fault.path, "message": fault.message} for fault in error.faults]
    return Problem(422, f"the audience is wrong: {error}", type="faulty-audience", errors=errors)
