"""``/lifecycles/{name}`` and its tables as CSV."""

from datetime import UTC, datetime

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from touchline_console.application.lifecycle import VIEWS, View, lifecycle
from touchline_console.application.lifecycle_csv import table
from touchline_console.core.period import CHOICES, read_period
from touchline_console.entrypoints.http.pages.context import Pages, services


def lifecycles_router(pages: Pages) -> APIRouter:
    """A lifecycle's page."""
    router = APIRouter(include_in_schema=False)

    @router.get("/lifecycles/{name}")
    async def one(request: Request, name: str) -> HTMLResponse:
        found = await lifecycle(services(request), name, _view(request))
        return await pages.renderer.page(request, "lifecycle.html", views=VIEWS, periods=CHOICES, **found)

    @router.get("/lifecycles/{name}/{what}.csv")
    async def exported(request: Request, name: str, what: str) -> Response:
        text = await table(services(request), name, what, _view(request))
        headers = {"Content-Disposition": f'attachment; filename="{what}.csv"'}
        return Response(text, media_type="text/csv; charset=utf-8", headers=headers)

    return router


def _view(request: Request) -> View:
    asked = request.query_params
    name = asked.get("view", "movement")
    return View(
        name=name if name in dict(VIEWS) else "movement",
        period=read_period(asked.get("days"), asked.get("from"), asked.get("to"), datetime.now(UTC), usual="365"),
        channel=asked.get("channel", "")[:200],
        source=asked.get("source", "")[:200],
        stage=asked.get("stage", "")[:200],
        compare=asked.get("compare") == "1",
    )
