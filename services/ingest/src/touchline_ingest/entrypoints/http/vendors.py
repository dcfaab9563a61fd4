"""Endpoints for other formats: Segment's calls, CloudEvents, and webhooks of all kinds."""

import hashlib

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from touchline_runtime.http.problems import Problem
from touchline_runtime.metrics import Metrics
from uuid_utils import uuid7

from touchline_ingest.application.receive import Receipt
from touchline_ingest.application.vendor_requests import VendorRequest, VendorRequestHandler
from touchline_ingest.core.access.configured_sources import KEYED_KINDS, SourceEntry
from touchline_ingest.core.sources import interface
from touchline_ingest.core.sources.early_checks import most_bytes
from touchline_ingest.core.sources.registry import Registry
from touchline_ingest.core.sources.standard.segment import BATCH_CALLS, CALLS, MAX_BATCH_BYTES, SHORT_CALLS
from touchline_ingest.entrypoints.http import api_docs
from touchline_ingest.entrypoints.http.cross_origin import check_origin, preflight
from touchline_ingest.entrypoints.http.request_reader import (
    RequestReader,
    client_address,
    idempotency_key,
    mark_proven,
)
from touchline_ingest.entrypoints.http.routes import MeasuredEndpoint, router
from touchline_ingest.entrypoints.http.touchpoints import answer


class VendorEndpoints:
    """The routes for other formats.

    Args:
        public_url: scheme and host under which senders reach ingest; empty: what the request says.
    """

    def __init__(
        self,
        reader: RequestReader,
        handler: VendorRequestHandler,
        registry: Registry,
        metrics: Metrics,
        *,
        public_url: str,
    ) -> None:
        self._reader = reader
        self._receiver = reader.receiver
        self._handler = handler
        self._registry = registry
        self._metrics = metrics
        self._public_url = public_url.rstrip("/")

    def router(self) -> APIRouter:
        """Segment, CloudEvents, webhooks."""
        routes = router()
        self._add_segment(routes)
        self._add_cloudevents(routes)
        self._add_webhooks(routes)
        return routes

    def _add_segment(self, routes: APIRouter) -> None:
        endpoint, reader = "segment", self._reader

        @MeasuredEndpoint(endpoint, self._metrics)
        async def call(request: Request) -> Response:
            """One of Segment's calls. The key may also be `writeKey` in the body."""
            if "authorization" in request.headers:
                entry = reader.source_of(request, endpoint)
                body = await reader.read_body(request, entry)
            else:
                # No more than a batch may contain is read for a key that may be wrong.
                body = await reader.read_body(request, most=MAX_BATCH_BYTES, proven=False)
                entry = reader.source_of(request, endpoint, key=self._receiver.key_in_body(body, endpoint) or "")
                mark_proven(request)
            check_origin(request, entry)
            named_by = idempotency_key(request) or str(uuid7())
            reader.check_idempotency_key(request, entry, body)
            return await self._handle(request, body, entry, endpoint, named_by=named_by)

        for name in sorted(CALLS | BATCH_CALLS | SHORT_CALLS.keys()):
            routes.post(f"/v1/{name}", name=name, **api_docs.segment_call(name))(call)
            routes.options(f"/v1/{name}", include_in_schema=False)(preflight(reader, endpoint))

    def _add_cloudevents(self, routes: APIRouter) -> None:
        endpoint, reader = "cloudevents", self._reader

        @routes.post("/v1/cloudevents", **api_docs.POST_CLOUDEVENTS)
        @MeasuredEndpoint(endpoint, self._metrics)
        async def post_cloudevents(request: Request) -> Response:
            entry = reader.source_of(request, endpoint)
            body = await reader.read_body(request, entry)
            named_by = idempotency_key(request) or str(uuid7())
            reader.check_idempotency_key(request, entry, body)
            return await self._handle(request, body, entry, endpoint, named_by=named_by, per_item=True)

    def _add_webhooks(self, routes: APIRouter) -> None:
        endpoint = "webhooks"

        @routes.post("/v1/webhooks/{source}", **api_docs.POST_WEBHOOKS)
        @MeasuredEndpoint(endpoint, self._metrics)
        async def post_webhook(request: Request) -> Response:
            name = request.path_params["source"]
            entry = self._receiver.sources.entries.get(name)
            source = self._registry.get(entry.kind) if entry else None
            if entry is None or source is None or entry.kind in KEYED_KINDS:
                raise Problem(
                    404,
                    "no source of that name accepts webhooks: the last part of the address is the name of a source in "
                    "the sources file, of a kind that signs its requests",
                    type="no-such-source",
                )
            self._handler.check_headers(self._received(request, b"", ""), entry, source)
            body, compressed = await self._reader.read_signed_body(request, entry, most=most_bytes(source))
            # The same delivery sent again gives its events the same ids.
            named_by = "sha256:" + hashlib.sha256(body).hexdigest()
            received = self._received(request, body, named_by, compressed)
            return _response(await self._handler.handle(received, entry, source, entry.config, endpoint=endpoint))

    async def _handle(
        self, request: Request, body: bytes, entry: SourceEntry, kind: str, *, named_by: str, per_item: bool = False
    ) -> Response:
        """Handle a request whose endpoint is named like the kind of source that reads it."""
        return _response(
            await self._handler.handle(
                self._received(request, body, named_by),
                entry,
                self._registry.sources[kind],
                entry.config_as(kind),
                endpoint=kind,
                per_item=per_item,
            )
        )

    def _received(self, request: Request, body: bytes, named_by: str, compressed: bytes | None = None) -> VendorRequest:
        headers: dict[str, str] = {}
        for name, value in request.headers.items():
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        query = dict(request.query_params)
        return VendorRequest(
            request=interface.Request(
                request.method, self._public_address(request), headers, body, query, compressed=compressed
            ),
            path=request.url.path,
            headers=request.headers.items(),
            address=client_address(request),
            named_by=named_by,
            mark_proven=lambda: mark_proven(request),
        )

    def _public_address(self, request: Request) -> str:
        """The address as the sender wrote it, with its percent-encoding."""
        scope = request.scope
        path = scope.get("raw_path") or scope["path"].encode()
        query = scope["query_string"]
        target: str = (path + b"?" + query if query else path).decode("latin-1")
        return (self._public_url or f"{request.url.scheme}://{request.url.netloc}") + target


def _response(result: Receipt | interface.Reply) -> Response:
    if isinstance(result, Receipt):
        return answer(result, success=202)
    return Response(result.body, result.status, dict(result.headers), result.content_type)
