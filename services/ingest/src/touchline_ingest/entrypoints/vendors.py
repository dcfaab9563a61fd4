"""The doors that speak other people's formats: Segment's calls, CloudEvents, and webhooks of all kinds."""

import hashlib

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from touchline_runtime.metrics import Metrics
from touchline_runtime.problems import Problem
from touchline_schemas.ids import uuid7_text

from touchline_ingest.core.acceptance import named_by
from touchline_ingest.core.source_book import KEYED_KINDS
from touchline_ingest.core.sources.registry import Registry
from touchline_ingest.core.sources.segment import BATCH_CALLS, CALLS, MAX_BATCH_BYTES, write_key_in_body
from touchline_ingest.entrypoints import api_page
from touchline_ingest.entrypoints.cross_origin import check_origin, preflight
from touchline_ingest.entrypoints.doors import DoorFrame, router
from touchline_ingest.entrypoints.reception import Reception
from touchline_ingest.entrypoints.relay import Relay


def vendors_router(reception: Reception, relay: Relay, registry: Registry, metrics: Metrics) -> APIRouter:
    """Segment, CloudEvents, webhooks."""
    doors = router()
    _add_segment(doors, reception, relay, registry, metrics)
    _add_cloudevents(doors, reception, relay, registry, metrics)
    _add_webhooks(doors, reception, relay, registry, metrics)
    return doors


def _add_segment(doors: APIRouter, reception: Reception, relay: Relay, registry: Registry, metrics: Metrics) -> None:
    door = "segment"
    source = registry.sources[door]

    @DoorFrame(door, metrics)
    async def call(request: Request) -> Response:
        """One of Segment's calls. The key may also be `writeKey` in the body."""
        if "authorization" in request.headers:
            entry = reception.source_of(request, door)
            body = await reception.read_body(request, entry)
        else:
            # Whoever it is: no more than a batch may hold is read for a key that may be wrong.
            body = await reception.read_body(request, most=MAX_BATCH_BYTES)
            entry = reception.source_of(request, door, key=write_key_in_body(body) or "")
        check_origin(request, entry)
        named = request.headers.get("idempotency-key") or uuid7_text()
        return await relay.carry(
            request,
            body,
            entry,
            source,
            entry.config_as(door),
            door=door,
            named_by=named,
            name_item=named_by(entry.name, named),
        )

    for name in sorted(CALLS | BATCH_CALLS):
        doors.post(f"/v1/{name}", name=name, **api_page.segment_call(name))(call)
        doors.options(f"/v1/{name}", include_in_schema=False)(preflight(reception, door))


def _add_cloudevents(
    doors: APIRouter, reception: Reception, relay: Relay, registry: Registry, metrics: Metrics
) -> None:
    door = "cloudevents"
    source = registry.sources[door]

    @doors.post("/v1/cloudevents", **api_page.POST_CLOUDEVENTS)
    @DoorFrame(door, metrics)
    async def post_cloudevents(request: Request) -> Response:
        entry = reception.source_of(request, door)
        body = await reception.read_body(request, entry)
        named = request.headers.get("idempotency-key") or uuid7_text()
        return await relay.carry(
            request,
            body,
            entry,
            source,
            entry.config_as(door),
            door=door,
            named_by=named,
            name_item=named_by(entry.name, named),
            per_item=True,
        )


def _add_webhooks(doors: APIRouter, reception: Reception, relay: Relay, registry: Registry, metrics: Metrics) -> None:
    door = "webhooks"

    @doors.post("/v1/webhooks/{source}", **api_page.POST_WEBHOOKS)
    @DoorFrame(door, metrics)
    async def post_webhook(request: Request) -> Response:
        name = request.path_params["source"]
        entry = reception.book.entries.get(name)
        source = registry.get(entry.kind) if entry else None
        if entry is None or source is None or entry.kind in KEYED_KINDS:
            raise Problem(
                404,
                "no source of that name takes webhooks: the last part of the address is the name of a source in the "
                "sources file, of a kind that signs its requests",
                type="no-such-source",
            )
        body = await reception.read_body(request, entry)
        # The same delivery sent again names its events the same.
        named = "sha256:" + hashlib.sha256(body).hexdigest()
        return await relay.carry(
            request,
            body,
            entry,
            source,
            entry.config,
            door=door,
            named_by=named,
            name_item=named_by(entry.name, named),
        )
