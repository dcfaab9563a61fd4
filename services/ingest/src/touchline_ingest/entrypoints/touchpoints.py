"""``POST /v1/touchpoints``: one touchpoint, an array of them, or one a line."""

from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from touchline_runtime.metrics import Metrics
from touchline_runtime.problems import Problem
from touchline_schemas.ids import uuid7_series

from touchline_ingest.core.acceptance import Accepted, NameItem, named_by
from touchline_ingest.core.bodies import is_lines, items_of
from touchline_ingest.core.refusals import NotReadable
from touchline_ingest.entrypoints import api_page
from touchline_ingest.entrypoints.doors import DoorFrame, router
from touchline_ingest.entrypoints.reception import RETRY_AFTER_SECONDS, Reception, Taken

DOOR = "touchpoints"
_MAX_IDEMPOTENCY_KEY = 255


def touchpoints_router(reception: Reception, metrics: Metrics) -> APIRouter:
    """The door for systems that speak our own format."""
    doors = router()
    framed = DoorFrame(DOOR, metrics)

    @doors.post("/v1/touchpoints", **api_page.POST_TOUCHPOINTS)
    @framed
    async def post_touchpoints(request: Request) -> Response:
        headers = request.headers
        entry = reception.source_of(request, DOOR)
        lines = is_lines(headers.get("content-type", ""))
        name_item = names_for(entry.name, headers.get("idempotency-key"))
        only_validate = asked(request, "validate_only")
        body = await reception.read_body(request, entry)
        items = items_of(body, lines=lines, most=reception.limits.items)
        reception.charge(entry, len(items))
        if only_validate:
            return answer(reception.judge(entry, items, name_item=name_item), success=200, validate_only=True)
        return answer(await reception.take(entry, items, door=DOOR, name_item=name_item), success=202)

    return doors


def names_for(source: str, idempotency_key: str | None) -> NameItem:
    """How items without ids are named: after the ``Idempotency-Key``, else by time (UUIDv7).

    Raises:
        NotReadable: the key is empty or unreasonably long.
    """
    if idempotency_key is None:
        return minting()
    if not 0 < len(idempotency_key) <= _MAX_IDEMPOTENCY_KEY:
        raise NotReadable(f"Idempotency-Key must have 1 to {_MAX_IDEMPOTENCY_KEY} characters")
    return named_by(source, idempotency_key)


def minting() -> NameItem:
    """New ids for one request's items; nothing is drawn where every item has its own."""
    series: NameItem | None = None

    def name(index: int) -> str:
        nonlocal series
        if series is None:
            series = uuid7_series()
        return series(index)

    return name


def asked(request: Request, flag: str) -> bool:
    """Whether a query parameter says yes.

    Raises:
        NotReadable: it says neither yes nor no.
    """
    if not request.scope["query_string"]:
        return False
    value = request.query_params.get(flag)
    if value is None or value.lower() in ("false", "0", "no"):
        return False
    if value.lower() in ("", "true", "1", "yes"):
        return True
    raise NotReadable(f"{flag}={value[:40]!r}: write true or false")


def answer(taken: Taken, *, success: int, **extra: Any) -> Response:
    """The answer to a caller that can read per-item results."""
    results = []
    rejected = 0
    for verdict in taken.verdicts:
        if type(verdict) is Accepted:
            missing = verdict.index in taken.unacknowledged
            results.append(
                {
                    "index": verdict.index,
                    "id": verdict.id,
                    "status": "unacknowledged" if missing else "accepted",
                    "error": taken.reason if missing else None,
                }
            )
        else:
            rejected += 1
            results.append(
                {"index": verdict.index, "id": verdict.id, "status": "rejected", "error": verdict.error}  # type: ignore[union-attr]
            )
    counts: dict[str, Any] = {"accepted": len(results) - rejected - len(taken.unacknowledged), "rejected": rejected}
    if taken.unacknowledged:
        raise Problem(
            503,
            f"{taken.reason}. Send the request again with the ids in `results`: what was stored already is not counted "
            "twice",
            type="not-acknowledged",
            headers={"Retry-After": RETRY_AFTER_SECONDS},
            **counts,
            results=results,
        )
    if rejected == len(results):
        raise Problem(422, _why(results), type="all-rejected", **counts, results=results, **extra)
    return Response(orjson.dumps({**counts, "results": results, **extra}), success, media_type="application/json")


def _why(results: list[dict[str, Any]]) -> str:
    if len(results) == 1:
        return str(results[0]["error"])
    return f"none of the {len(results)} items is a touchpoint; the first: {results[0]['error']}"
