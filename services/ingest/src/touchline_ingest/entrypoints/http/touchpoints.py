"""``POST /v1/touchpoints``: one touchpoint, an array of them, or one a line."""

from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from touchline_runtime.http.problems import Problem
from touchline_runtime.metrics import Metrics
from touchline_schemas.near_misses import near_miss
from uuid_utils import uuid7

from touchline_ingest.application.receive import Receipt
from touchline_ingest.core.touchpoints.acceptance import Accepted, NameItem, named_by
from touchline_ingest.core.touchpoints.bodies import is_lines, items_of
from touchline_ingest.core.touchpoints.refusals import RETRY_AFTER_SECONDS, NotReadable
from touchline_ingest.entrypoints.http import api_docs
from touchline_ingest.entrypoints.http.request_reader import RequestReader, idempotency_key
from touchline_ingest.entrypoints.http.routes import MeasuredEndpoint, router

ENDPOINT = "touchpoints"


def touchpoints_router(reader: RequestReader, metrics: Metrics) -> APIRouter:
    """The endpoint for senders that use Touchline's own format."""
    routes = router()
    receiver = reader.receiver

    @routes.post("/v1/touchpoints", **api_docs.POST_TOUCHPOINTS)
    @MeasuredEndpoint(ENDPOINT, metrics)
    async def post_touchpoints(request: Request) -> Response:
        entry = reader.source_of(request, ENDPOINT)
        lines = is_lines(request.headers.get("content-type", ""))
        name_item = names_for(entry.name, idempotency_key(request))
        only_validate = flag_of(request, "validate_only")
        body = await reader.read_body(request, entry)
        items = items_of(body, lines=lines, most=receiver.limits.items)
        receiver.charge(entry, len(items))
        if only_validate:
            return answer(receiver.judge(entry, items, name_item=name_item), success=200, validate_only=True)
        reader.check_idempotency_key(request, entry, body)
        return answer(await receiver.accept(entry, items, endpoint=ENDPOINT, name_item=name_item), success=202)

    return routes


def names_for(source: str, idempotency_key: str | None) -> NameItem:
    """How items without ids are named: from the ``Idempotency-Key``, else by time (UUIDv7)."""
    return new_ids if idempotency_key is None else named_by(source, idempotency_key)


def new_ids(_: int) -> str:
    """The id of an item that has none: a UUIDv7. Those of one process rise in the order of the calls."""
    return str(uuid7())


def flag_of(request: Request, name: str) -> bool:
    """The value of a boolean query parameter; false when it is absent.

    Raises:
        NotReadable: it is neither true nor false.
    """
    if not request.scope["query_string"]:
        return False
    value = request.query_params.get(name)
    if value is None or value.lower() in ("false", "0", "no"):
        return False
    if value.lower() in ("", "true", "1", "yes"):
        return True
    raise NotReadable(f"{name}={value[:40]!r}: write true or false")


def answer(receipt: Receipt, *, success: int, **extra: Any) -> Response:
    """The answer to a sender that reads results for each item."""
    results = []
    rejected = 0
    for verdict in receipt.verdicts:
        if type(verdict) is Accepted:
            missing = verdict.index in receipt.unacknowledged
            results.append(
                {
                    "index": verdict.index,
                    "id": verdict.id,
                    "status": "unacknowledged" if missing else "accepted",
                    "error": receipt.reason if missing else None,
                }
            )
        else:
            rejected += 1
            results.append(
                {"index": verdict.index, "id": verdict.id, "status": "rejected", "error": verdict.error}  # type: ignore[union-attr]
            )
    warnings = [
        {"type": kind, "did_you_mean": meant}
        for kind in dict.fromkeys(verdict.type for verdict in receipt.verdicts if type(verdict) is Accepted)
        if (meant := near_miss(kind)) is not None
    ]
    if warnings:
        extra["warnings"] = warnings
    counts: dict[str, Any] = {"accepted": len(results) - rejected - len(receipt.unacknowledged), "rejected": rejected}
    if receipt.unacknowledged:
        raise Problem(
            503,
            f"{receipt.reason}. Send the request again with the ids in `results`: what was stored already is not "
            "counted twice",
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
