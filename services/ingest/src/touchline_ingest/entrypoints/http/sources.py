"""Routes for operators: sources and what they posted, dead letters, operations. They need an API token."""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, FastAPI, Query, Request
from touchline_runtime.config.settings_in_force import settings_in_force
from touchline_runtime.http.auth import include_guarded
from touchline_runtime.http.problems import Problem
from touchline_runtime.http.tokens import Role
from touchline_schemas.times import to_wire

from touchline_ingest.application.ports import MOST_RECENT, DeadLetters
from touchline_ingest.core.access.configured_sources import Sources
from touchline_ingest.core.access.source_activity import Event, SourceActivity
from touchline_ingest.core.history.dead_letter_replay import DeadLetter
from touchline_ingest.core.touchpoints.masking import masked, masked_text
from touchline_ingest.settings import IngestSettings

PATHS = ("/v1/sources", "/v1/dead-letters", "/v1/operations")
"""The paths of these routes."""


def add_source_routes(
    app: FastAPI,
    *,
    sources: Callable[[], Sources],
    activity: Mapping[str, SourceActivity],
    dead_letters: DeadLetters | None,
    settings: IngestSettings,
    version: str,
) -> None:
    """``/v1/sources``, ``/v1/dead-letters``, ``/v1/operations``. ``dead_letters``: None without Kafka."""
    router = APIRouter()
    _sources(router, sources, activity)
    if dead_letters is not None:
        _dead_letters(router, dead_letters)

    @router.get("/v1/operations", tags=["operations"], summary="Version and settings in force; no secrets")
    async def operations() -> dict[str, Any]:
        return {"version": version, "sources": len(sources().entries), "settings": settings_in_force(settings)}

    include_guarded(app, router)


def _sources(router: APIRouter, sources: Callable[[], Sources], activity: Mapping[str, SourceActivity]) -> None:
    @router.get(
        "/v1/sources",
        tags=["sources"],
        summary="The sources, how much each posted in the last day, and why items were rejected",
        description="Counts are of this process, since it started; a deployment with several has one list in each.",
    )
    async def list_sources() -> dict[str, Any]:
        now = datetime.now(UTC)
        items = []
        for name, entry in sorted(sources().entries.items()):
            known = activity.get(name)
            items.append({"source": name, "kind": entry.kind} | _summary(known or SourceActivity(), now))
        return {"items": items, "next": None}

    @router.get(
        "/v1/sources/{name}/events",
        tags=["sources"],
        summary="The last events and rejections of a source, as posted",
        description="Secrets and addresses are masked for all roles but operator.",
    )
    async def events(
        request: Request,
        name: str,
        status: Annotated[Literal["accepted", "rejected"] | None, Query(description="of this kind alone")] = None,
    ) -> dict[str, Any]:
        if name not in sources().entries:
            raise Problem(404, f"there is no source {name!r}", type="not-found")
        known = activity.get(name)
        hidden = request.state.token.role < Role.OPERATOR
        found = known.events(datetime.now(UTC), status) if known else []
        return {"items": [_event(event, hidden) for event in found], "masked": hidden, "next": None}


def _dead_letters(router: APIRouter, dead_letters: DeadLetters) -> None:
    @router.get(
        "/v1/dead-letters/counts",
        tags=["dead letters"],
        summary="How many dead letters there are, by reason and source",
        description=f"`reasons` and `sources` are of the newest {MOST_RECENT}.",
    )
    async def counts() -> dict[str, Any]:
        recent = await dead_letters.recent()
        return {
            "total": recent.total,
            "last_day": recent.last_day,
            "reasons": dict(Counter(dead_letter.reason for dead_letter in recent.items).most_common(50)),
            "sources": dict(
                Counter(dead_letter.source or dead_letter.origin for dead_letter in recent.items).most_common(50)
            ),
        }

    @router.get(
        "/v1/dead-letters",
        tags=["dead letters"],
        summary=f"The newest dead letters (of the last {MOST_RECENT}), the newest first",
    )
    async def listed(
        request: Request,
        reason: str | None = None,
        source: str | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        offset: Annotated[int, Query(ge=0, le=MOST_RECENT)] = 0,
    ) -> dict[str, Any]:
        hidden = request.state.token.role < Role.OPERATOR
        recent = await dead_letters.recent()
        chosen = [
            dead_letter
            for dead_letter in recent.items
            if reason in (None, dead_letter.reason) and source in (None, dead_letter.source, dead_letter.origin)
        ]
        shown = chosen[offset : offset + limit]
        return {
            "items": [_dead_letter(dead_letter, hidden) for dead_letter in shown],
            "next": offset + limit if len(chosen) > offset + limit else None,
        }

    @router.get("/v1/dead-letters/{partition}/{offset}", tags=["dead letters"], summary="One dead letter, whole")
    async def one(request: Request, partition: int, offset: int) -> dict[str, Any]:
        found = await dead_letters.get(partition, offset)
        if found is None:
            raise Problem(404, f"there is no dead letter {partition}/{offset}", type="not-found")
        hidden = request.state.token.role < Role.OPERATOR
        headers = [
            {"name": name, "value": _header(name, value.decode("utf-8", "replace"), hidden)}
            for name, value in found.headers
        ]
        return _dead_letter(found, hidden) | {
            "headers": headers,
            "posted": _posted(found.value, hidden),
            "masked": hidden,
        }


def _summary(known: SourceActivity, now: datetime) -> dict[str, Any]:
    hours = known.hours(now)
    return {
        "last_at": None if known.last_at is None else to_wire(known.last_at),
        "last_rejected_at": None if known.last_rejected_at is None else to_wire(known.last_rejected_at),
        "accepted": sum(hour.accepted for hour in hours),
        "rejected": sum(hour.rejected for hour in hours),
        "unacknowledged": sum(hour.unacknowledged for hour in hours),
        "hours": [
            {"begins": to_wire(hour.begins), "accepted": hour.accepted, "rejected": hour.rejected} for hour in hours
        ],
        "reasons": [{"reason": masked_text(reason), "items": count} for reason, count in known.reasons(now)],
    }


def _event(event: Event, hidden: bool) -> dict[str, Any]:
    return {
        "at": to_wire(event.at),
        "door": event.door,
        "status": event.status,
        "id": event.id,
        "error": masked_text(event.error) if hidden and event.error else event.error,
        "posted": _posted(event.posted, hidden),
        "truncated": event.truncated,
    }


def _dead_letter(dead_letter: DeadLetter, hidden: bool) -> dict[str, Any]:
    error = dead_letter.header("error")
    return {
        "id": dead_letter.id,
        "partition": dead_letter.partition,
        "offset": dead_letter.offset,
        "at": to_wire(dead_letter.at),
        "reason": dead_letter.reason,
        "source": dead_letter.source,
        "origin": dead_letter.origin,
        "error": masked_text(error) if hidden else error,
        "bytes": len(dead_letter.value),
    }


def _posted(content: bytes, hidden: bool) -> str:
    """What was posted, as text; indented where it is JSON, masked where it has to be."""
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        text = content.decode("utf-8", "replace")
        return masked_text(text) if hidden else text
    return orjson.dumps(masked(value) if hidden else value, option=orjson.OPT_INDENT_2).decode()


def _header(name: str, value: str, hidden: bool) -> str:
    return str(masked({name: value})[name]) if hidden else value
