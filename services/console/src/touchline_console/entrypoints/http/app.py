"""The application: pages, the live stream, static files, health and metrics."""

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from touchline_runtime.http.app import build_app
from touchline_runtime.http.auth import Access
from touchline_runtime.metrics import Metrics
from touchline_runtime.process.health import Health

from touchline_console.application.navigation import Navigation
from touchline_console.application.parts import explain
from touchline_console.application.ports import NotFound, Rejected, ServiceFault, Unreachable
from touchline_console.entrypoints.http import security
from touchline_console.entrypoints.http.pages.audiences import audiences_router
from touchline_console.entrypoints.http.pages.audit import audit_router
from touchline_console.entrypoints.http.pages.context import Pages
from touchline_console.entrypoints.http.pages.customers import customers_router
from touchline_console.entrypoints.http.pages.editor import editor_router
from touchline_console.entrypoints.http.pages.lifecycles import lifecycles_router
from touchline_console.entrypoints.http.pages.live import live_router
from touchline_console.entrypoints.http.pages.one_customer import one_customer_router
from touchline_console.entrypoints.http.pages.overview import overview_router
from touchline_console.entrypoints.http.pages.play_editor import play_editor_router
from touchline_console.entrypoints.http.pages.plays import plays_router
from touchline_console.entrypoints.http.pages.sign_in import SignIn, sign_in_router
from touchline_console.entrypoints.http.pages.sources import sources_router
from touchline_console.entrypoints.http.rendering import Renderer, StaticFiles
from touchline_console.metrics import SERVICE_FAILURES, SESSIONS, SIGN_INS
from touchline_console.settings import ConsoleSettings

ABOUT = "Pages for people over the HTTP APIs of ingest, stage engine and notifier. It has no API of its own."
log = structlog.get_logger(__name__)
_FOREVER = "public, max-age=31536000, immutable"


def console_app(
    *,
    version: str,
    currency: str,
    sign_in: SignIn,
    metrics: Metrics,
    settings: ConsoleSettings,
) -> FastAPI:
    """The ASGI application of ``touchline-console serve``."""
    # Its pages ask for a session in place of a token: the gate checks where requests come from, `security` by whom.
    app = build_app(
        "Touchline console",
        version=version,
        about=ABOUT,
        health=Health(),
        metrics=metrics,
        settings=settings,
        access=Access(),
    )
    metrics.gauge(SESSIONS).set_function(lambda: len(sign_in.sessions))
    for result in ("accepted", "rejected"):
        metrics.counter(SIGN_INS).labels(result)
    for service in ("ingest", "engine", "notifier"):
        for kind in ("unreachable", "timeout", "refused", "error"):
            metrics.counter(SERVICE_FAILURES).labels(service, kind)
    static = StaticFiles()
    renderer = Renderer(static.address, currency, Navigation())
    pages = Pages(renderer, currency)
    routers = (
        overview_router,
        one_customer_router,
        customers_router,
        audiences_router,
        editor_router,
        lifecycles_router,
        play_editor_router,
        plays_router,
        sources_router,
        audit_router,
        live_router,
    )
    for make in routers:
        app.include_router(make(pages))
    app.include_router(sign_in_router(pages, sign_in, metrics))
    security.install(app, sign_in, renderer, metrics)
    _problems(app, renderer)
    _static(app, static)
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=5)
    return app


def _static(app: FastAPI, static: StaticFiles) -> None:
    @app.get("/static/{rest:path}", include_in_schema=False)
    async def file(rest: str) -> Response:
        found = static.find(f"/static/{rest}")
        if found is None:
            raise HTTPException(404, "no such file")
        return Response(found[0], media_type=found[1], headers={"Cache-Control": _FOREVER})

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        found = static.find(static.address("icon.svg"))
        assert found is not None
        return Response(found[0], media_type=found[1])


def _problems(app: FastAPI, renderer: Renderer) -> None:
    """Faults that leave nothing to show become pages in the frame of the console."""

    @app.exception_handler(ServiceFault)
    async def fault(request: Request, error: ServiceFault) -> HTMLResponse:
        status = 404 if isinstance(error, NotFound) else 503 if isinstance(error, Unreachable) else 400
        if isinstance(error, Rejected) and error.status in (409, 422):
            status = error.status
        if request.headers.get("hx-request"):
            return renderer.part(request, "parts/problem.html", missing=explain(error))
        return await renderer.page(request, "problem.html", status=status, **explain(error))

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> HTMLResponse:
        # The route as it was declared: a path names customers.
        log.error("page_failed", route=getattr(request.scope.get("route"), "path", None), exc_info=error)
        detail = "This is a fault of the console; its log has the details. Other pages should work."
        words = {"kind": "refused", "title": "Something went wrong on our side", "detail": detail}
        return await renderer.page(request, "problem.html", status=500, **words)

    @app.exception_handler(404)
    async def unknown(request: Request, error: HTTPException) -> HTMLResponse:
        words = {"kind": "unknown", "title": "There is no such page", "detail": request.url.path}
        return await renderer.page(request, "problem.html", status=404, **words)
