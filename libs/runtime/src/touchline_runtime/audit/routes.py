"""``GET /v1/audit``: a service's audit log, paged, and as CSV or NDJSON."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Literal, Protocol

import orjson
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, BaseModel

from touchline_runtime.audit.entry import Actor, request_id_of
from touchline_runtime.exports.csv_text import csv_lines
from touchline_runtime.exports.first_item import with_first_item_read
from touchline_runtime.http.problems import Problem, problem_responses
from touchline_runtime.http.tokens import Token

_COLUMNS = ("id", "at", "actor", "role", "action", "target", "reason", "request_id", "before", "after")
_AT_ONCE = 500
Text = Annotated[str | None, Query(max_length=400)]


_RESPONSES = {
    200: {"content": {"text/csv": {}, "application/x-ndjson": {}}},
    **problem_responses(
        {
            401: "a token is missing",
            422: "a parameter is wrong",
            503: "PostgreSQL does not answer; try again after Retry-After",
        }
    ),
}


class AuditLog(Protocol):
    """Entries of a log, newest first."""

    async def entries(
        self,
        *,
        before_id: int | None = None,
        actor: str | None = None,
        action: str | None = None,
        target: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int,
    ) -> list[dict[str, Any]]:
        """At most `limit` entries with an id below `before_id` that pass every filter."""
        ...


class Entry(BaseModel):
    """One change. `request_id`: of the request that made it, also in its `X-Request-Id` header."""

    id: int
    at: datetime
    actor: str
    role: str
    action: str
    target: str
    before: Any
    after: Any
    reason: str | None
    request_id: str


class Entries(BaseModel):
    """Entries, newest first. `next` is the cursor of the next page; null on the last page."""

    items: list[Entry]
    next: str | None


def actor_of(request: Request) -> Actor:
    """Who makes a request: the token that was checked, never what the request says of itself."""
    token: Token = request.state.token
    request_id = getattr(request.state, "request_id", None) or request_id_of(request.headers.get("x-request-id"))
    return Actor(token.name, token.role.label, request_id)


def audit_router(log: AuditLog) -> APIRouter:
    """The routes of an audit log."""
    router = APIRouter(tags=["audit"])

    @router.get(
        "/v1/audit",
        summary="Who changed what, when and why",
        description="Newest first. `format=csv` and `format=ndjson` export every entry that passes the filters.",
        response_model=Entries,
        responses=_RESPONSES,
    )
    async def entries(
        actor: Text = None,
        action: Text = None,
        target: Text = None,
        since: Annotated[AwareDatetime | None, Query(description="RFC 3339")] = None,
        until: Annotated[AwareDatetime | None, Query(description="RFC 3339")] = None,
        format: Annotated[Literal["json", "csv", "ndjson"], Query()] = "json",  # noqa: A002
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
        cursor: Annotated[str | None, Query(max_length=40)] = None,
    ) -> Any:
        asked = {"actor": actor, "action": action, "target": target, "since": since, "until": until}
        for name in ("actor", "action", "target"):
            if "\x00" in (asked[name] or ""):  # type: ignore[operator]
                raise Problem(422, f"{name}: PostgreSQL stores no NUL character", type="invalid-request")
        if format != "json":
            writing = _csv if format == "csv" else _ndjson
            media_type = "text/csv; charset=utf-8" if format == "csv" else "application/x-ndjson"
            headers = {"Content-Disposition": f'attachment; filename="audit.{format}"'}
            return StreamingResponse(
                writing(await with_first_item_read(_all(log, asked))), media_type=media_type, headers=headers
            )
        if cursor is not None and not (cursor.isascii() and cursor.isdigit() and int(cursor) < 2**63):
            raise Problem(422, "cursor: this list did not issue it", type="invalid-request")
        found = await log.entries(before_id=None if cursor is None else int(cursor), limit=limit + 1, **asked)  # type: ignore[arg-type]
        more = len(found) > limit
        body = {"items": [_plain(one) for one in found[:limit]], "next": str(found[limit - 1]["id"]) if more else None}
        return Response(orjson.dumps(body), media_type="application/json")

    return router


def _plain(entry: dict[str, Any]) -> dict[str, Any]:
    return entry | {"at": entry["at"].isoformat().replace("+00:00", "Z")}


async def _all(log: AuditLog, asked: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    before_id = None
    while True:
        found = await log.entries(before_id=before_id, limit=_AT_ONCE, **asked)
        for entry in found:
            yield _plain(entry)
        if len(found) < _AT_ONCE:
            return
        before_id = found[-1]["id"]


async def _ndjson(entries: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    async for entry in entries:
        yield orjson.dumps(entry) + b"\n"


async def _csv(entries: AsyncIterator[dict[str, Any]]) -> AsyncIterator[str]:
    yield csv_lines([_COLUMNS])
    async for entry in entries:
        yield csv_lines([[_text(entry[name]) for name in _COLUMNS]])


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
