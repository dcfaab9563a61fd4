"""``/sources``, ``/dead-letters``, ``/operations``."""

from datetime import UTC, datetime

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from touchline_console.application import sources
from touchline_console.entrypoints.http.pages.context import Pages, given, services


def sources_router(pages: Pages) -> APIRouter:
    """Pages about what comes in, and how the services run."""
    router = APIRouter(include_in_schema=False)
    page = pages.renderer.page

    @router.get("/sources")
    async def listed(request: Request) -> HTMLResponse:
        return await page(request, "sources.html", **await sources.sources(services(request), datetime.now(UTC)))

    @router.get("/sources/{name}")
    async def one(request: Request, name: str, status: str | None = None) -> HTMLResponse:
        chosen = status if status in ("accepted", "rejected") else None
        found = await sources.source(services(request), name, chosen, datetime.now(UTC))
        return await page(request, "source.html", status_chosen=chosen, **found)

    @router.get("/dead-letters")
    async def dead_letters(
        request: Request, reason: str | None = None, source: str | None = None, offset: int = 0
    ) -> HTMLResponse:
        chosen = {"reason": given(reason), "source": given(source)}
        found = await sources.dead_letters(services(request), chosen["reason"], chosen["source"], max(0, offset))
        return await page(request, "dead_letters.html", filters=chosen, **found)

    @router.get("/dead-letters/{partition}/{offset}")
    async def dead_letter(request: Request, partition: int, offset: int) -> HTMLResponse:
        found = await sources.dead_letter(services(request), partition, offset)
        return await page(request, "dead_letter.html", **found)

    @router.get("/operations")
    async def operations(request: Request) -> HTMLResponse:
        return await page(request, "operations.html", **await sources.operations(services(request)))

    return router
