"""The FastAPI application of every process: health, metrics, problems, and the request guard."""

from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from starlette.types import ASGIApp

from touchline_runtime.config.exposure import Exposure
from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.http import api_page, problems
from touchline_runtime.http import metrics as http_metrics
from touchline_runtime.http.auth import Access
from touchline_runtime.http.head_requests import HeadRequests
from touchline_runtime.http.metrics import HttpMetrics, service_label
from touchline_runtime.http.request_guard import PathTest, RequestGuard, no_path
from touchline_runtime.http.traces import TracedRequests
from touchline_runtime.metrics import CONTENT_TYPE, Metrics
from touchline_runtime.process.health import Health
from touchline_runtime.tracing import Tracing

log = structlog.get_logger(__name__)

ROLE_FIELD = "x-touchline-role"
"""Member of an operation in the OpenAPI description: the role that it needs."""


class _App(FastAPI):
    """An application that answers ``HEAD`` wherever it answers ``GET``."""

    def build_middleware_stack(self) -> ASGIApp:
        return HeadRequests(super().build_middleware_stack(), lambda: self.router.routes)


class _MeasuredApp(_App):
    """An application that counts all requests, also those that middlewares reject."""

    measured: Metrics
    tracing: Tracing | None = None

    def build_middleware_stack(self) -> ASGIApp:
        app: ASGIApp = HttpMetrics(
            super().build_middleware_stack(), metrics=self.measured, service=service_label(self.title)
        )
        return app if self.tracing is None else TracedRequests(app, self.tracing)

    def openapi(self) -> dict[str, Any]:
        described = api_page.with_security(super().openapi())
        for (path, method), role in self.state.roles.items():
            described["paths"].get(path, {}).get(method.lower(), {})[ROLE_FIELD] = role.label
        return described


def build_app(
    title: str,
    *,
    version: str,
    about: str,
    health: Health,
    metrics: Metrics,
    settings: ServiceSettings | None = None,
    access: Access | None = None,
    proven: PathTest = no_path,
    cross_origin: PathTest = no_path,
    tracing: Tracing | None = None,
) -> FastAPI:
    """An application with ``/healthz``, ``/readyz``, ``/metrics`` and ``/docs``, whose errors are problems.

    Args:
        settings: who reaches the port, and the tokens. None (in tests): any host, no tokens.
        access: the tokens; those of the settings when left out.
        proven: paths that ask for no API token; see :class:`RequestGuard`.
        cross_origin: paths that pages of other origins use; see :class:`RequestGuard`.
        tracing: writes a span for each request.
    """
    exposure = settings.exposure() if settings else None
    access = access or (settings.access() if settings else Access())
    # FastAPI's own page loads its script from another host, which a closed network does not reach: see api_page.
    app = _MeasuredApp(title=title, version=version, description=about, redoc_url=None, docs_url=None)
    app.measured, app.tracing = metrics, tracing
    app.state.roles = {}
    http_metrics.install(metrics, health, service_label(title))
    problems.install(app)
    app.add_middleware(RequestGuard, access=access, exposure=exposure, proven=proven, cross_origin=cross_origin)
    api_page.install(app)
    _add_operations(app, health, metrics, settings.access() if settings else access, exposure or Exposure())
    app.state.operations = operations_app(health, metrics, version)
    app.state.access = access
    return app


def operations_app(health: Health, metrics: Metrics, version: str) -> FastAPI:
    """The application on ``TOUCHLINE_METRICS_PORT``: health with all details, and metrics, without tokens."""
    app = _App(title="Touchline operations", version=version, openapi_url=None, redoc_url=None, docs_url=None)
    problems.install(app)
    app.add_middleware(RequestGuard, access=Access(), exposure=None)
    _add_operations(app, health, metrics, Access(), Exposure())
    return app


def _add_operations(app: FastAPI, health: Health, metrics: Metrics, access: Access, exposure: Exposure) -> None:
    reported: dict[str, str] = {}

    @app.get("/healthz", tags=["operations"], summary="Is the process alive?", openapi_extra={"security": []})
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get(
        "/readyz",
        tags=["operations"],
        summary="Is it ready? Only when Kafka, PostgreSQL and whatever else it needs answer.",
        description="`checks` has the result of each check. A process that other machines can reach shows it only to "
        "requests with an API token; the log (`not_ready`) and TOUCHLINE_METRICS_PORT have it as well.",
        responses={503: {"description": "A check fails; `checks` says which."}},
        openapi_extra={"security": []},
    )
    async def readyz(request: Request) -> Response:
        ready, checks = await health.readiness()
        failing = {name: result for name, result in checks.items() if result != "ok"}
        if failing != reported:
            reported.clear()
            reported.update(failing)
            if failing:
                log.warning("not_ready", checks=failing)
            else:
                log.info("ready_again")
        body: dict[str, Any] = {"status": "ready" if ready else "not ready"}
        if exposure.loopback or access.token_of(request) is not None:
            body["checks"] = checks
            body |= health.details
        return Response(orjson.dumps(body), 200 if ready else 503, media_type="application/json")

    if exposure.serves_metrics:

        @app.get(
            "/metrics",
            tags=["operations"],
            summary="Metrics in Prometheus' text format",
            response_class=Response,
            openapi_extra={"security": []},
        )
        async def exposition(request: Request) -> Response:
            if not exposure.loopback:
                access.authenticate(request)
            return Response(await metrics.scraped(), media_type=CONTENT_TYPE)
