"""The FastAPI application every process starts from: health, metrics, problems."""

from importlib.resources import files

import orjson
from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse

from touchline_runtime import problems
from touchline_runtime.health import Health
from touchline_runtime.metrics import CONTENT_TYPE, Metrics


def build_app(title: str, *, version: str, about: str, health: Health, metrics: Metrics) -> FastAPI:
    """An application with ``/healthz``, ``/readyz``, ``/metrics`` and ``/docs``, whose errors are problems."""
    # FastAPI's own page loads its script from another host, which a closed network does not reach.
    app = FastAPI(title=title, version=version, description=about, redoc_url=None, docs_url=None)
    problems.install(app)
    page = (files("touchline_runtime") / "docs.html").read_text()

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page)

    @app.get("/healthz", tags=["operations"], summary="Is the process alive?")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get(
        "/readyz",
        tags=["operations"],
        summary="Can it do its work? True only when Kafka and PostgreSQL answer.",
        responses={503: {"description": "Something it needs does not answer; `checks` says what."}},
    )
    async def readyz() -> Response:
        ready, checks = await health.readiness()
        body = {"status": "ready" if ready else "not ready", "checks": checks}
        return Response(orjson.dumps(body), 200 if ready else 503, media_type="application/json")

    @app.get("/metrics", tags=["operations"], summary="Metrics in Prometheus' text format", response_class=Response)
    async def exposition() -> Response:
        return Response(metrics.exposition(), media_type=CONTENT_TYPE)

    return app
