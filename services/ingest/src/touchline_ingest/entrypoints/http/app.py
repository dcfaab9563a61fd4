"""The HTTP application: every endpoint, and the operations pages."""

from typing import Any

from fastapi import FastAPI
from touchline_runtime.http.app import build_app
from touchline_runtime.http.auth import include_guarded
from touchline_runtime.metrics import Metrics
from touchline_runtime.process.health import Health
from touchline_runtime.tracing import Tracing

from touchline_ingest.application.ports import DeadLetters
from touchline_ingest.entrypoints.http import api_docs
from touchline_ingest.entrypoints.http.request_reader import RequestReader
from touchline_ingest.entrypoints.http.sources import PATHS as SOURCE_PATHS
from touchline_ingest.entrypoints.http.sources import add_source_routes
from touchline_ingest.entrypoints.http.touchpoints import touchpoints_router
from touchline_ingest.entrypoints.http.types import types_router
from touchline_ingest.entrypoints.http.vendors import VendorEndpoints
from touchline_ingest.entrypoints.http.web import web_router
from touchline_ingest.settings import IngestSettings

_FOR_SERVERS = ("/v1/touchpoints", "/v1/cloudevents", "/v1/webhooks/")
"""Endpoints that servers use, and no page."""

_NEED_TOKEN = ("/v1/types", *SOURCE_PATHS)
"""Paths that need an API token."""


def has_own_authentication(path: str) -> bool:
    """Whether the requests to a path carry a write key or a signature instead of an API token."""
    return path.startswith("/v1/") and not path.startswith(_NEED_TOKEN)


def is_for_pages(path: str) -> bool:
    """Whether pages of other origins use an endpoint; a key's ``origins`` in the sources file say which."""
    return has_own_authentication(path) and not path.startswith(_FOR_SERVERS)


def ingest_app(
    reader: RequestReader,
    vendor_endpoints: VendorEndpoints,
    *,
    version: str,
    health: Health,
    metrics: Metrics,
    settings: IngestSettings,
    dead_letters: DeadLetters | None = None,
    tracing: Tracing | None = None,
) -> FastAPI:
    """The ASGI application of ``touchline-ingest serve``."""
    app = build_app(
        "Touchline ingest",
        version=version,
        about="Receives touchpoints. An answer of 2xx means that Kafka has acknowledged them.",
        health=health,
        metrics=metrics,
        settings=settings,
        proven=has_own_authentication,
        cross_origin=is_for_pages,
        tracing=tracing,
    )
    receiver = reader.receiver
    app.include_router(touchpoints_router(reader, metrics))
    app.include_router(web_router(reader, metrics))
    app.include_router(vendor_endpoints.router())
    include_guarded(app, types_router(receiver.types_seen))
    add_source_routes(
        app,
        sources=lambda: receiver.sources,
        activity=receiver.activity,
        dead_letters=dead_letters,
        settings=settings,
        version=version,
    )
    _add_schemas(app)
    return app


def _add_schemas(app: FastAPI) -> None:
    generate = app.openapi

    def complete() -> dict[str, Any]:
        document = generate()
        components = document.setdefault("components", {})
        components.setdefault("schemas", {}).update(api_docs.SCHEMAS)
        components["securitySchemes"] = api_docs.SECURITY_SCHEMES
        return document

    app.openapi = complete  # type: ignore[method-assign]
