"""``/``: the overview, and its boards, which load by themselves."""

from datetime import UTC, datetime

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from touchline_console.application import overview
from touchline_console.core.period import CHOICES, read_period
from touchline_console.entrypoints.http.pages.context import Pages, services


def overview_router(pages: Pages) -> APIRouter:
    """The overview and its parts."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def page(request: Request, days: str | None = None) -> HTMLResponse:
        period = read_period(days, None, None, datetime.now(UTC))
        found = await overview.overview(services(request), period)
        return await pages.renderer.page(request, "overview.html", period=period, periods=CHOICES[:5], **found)

    @router.get("/parts/health")
    async def health(request: Request) -> HTMLResponse:
        signals = await overview.health_strip(services(request))
        return pages.renderer.part(request, "parts/health.html", signals=signals)

    @router.get("/parts/board/{name}")
    async def board(request: Request, name: str, title: str = "") -> HTMLResponse:
        columns = await overview.lifecycle_board(services(request), name)
        return pages.renderer.part(request, "parts/board.html", columns=columns, name=name, title=title or name)

    return router
