"""The application: every door, and the pages of operations."""

from typing import Any

from fastapi import FastAPI
from touchline_runtime.health import Health
from touchline_runtime.http import build_app
from touchline_runtime.metrics import Metrics

from touchline_ingest.core.sources.registry import Registry
from touchline_ingest.entrypoints import api_page
from touchline_ingest.entrypoints.reception import Reception
from touchline_ingest.entrypoints.relay import Relay
from touchline_ingest.entrypoints.touchpoints import touchpoints_router
from touchline_ingest.entrypoints.vendors import vendors_router
from touchline_ingest.entrypoints.web import web_router


def ingest_app(
    reception: Reception, relay: Relay, registry: Registry, *, version: str, health: Health, metrics: Metrics
) -> FastAPI:
    """The ASGI application of ``touchline-ingest serve``."""
    app = build_app(
        "Touchline ingest",
        version=version,
        about="Every door a touchpoint comes through. 2xx only for what Kafka has acknowledged.",
        health=health,
        metrics=metrics,
    )
    app.include_router(touchpoints_router(reception, metrics))
    app.include_router(web_router(reception, metrics))
    app.include_router(vendors_router(reception, relay, registry, metrics))
    _complete_api_page(app)
    return app


def _complete_api_page(app: FastAPI) -> None:
    generate = app.openapi

    def complete() -> dict[str, Any]:
        document = generate()
        components = document.setdefault("components", {})
        components.setdefault("schemas", {}).update(api_page.SCHEMAS)
        components["securitySchemes"] = api_page.SECURITY_SCHEMES
        return document

    app.openapi = complete  # type: ignore[method-assign]
