"""Redirects of pages that belong to the console."""

from collections.abc import Sequence

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse


def console_link_router(console_url: str, paths: Sequence[str] = ("/",)) -> APIRouter:
    """Redirects (307) from these paths to the same ones of the console; a path may hold parameters, as in FastAPI."""
    router = APIRouter(include_in_schema=False)
    base = console_url.rstrip("/")

    async def lead(request: Request) -> RedirectResponse:
        query = f"?{request.url.query}" if request.url.query else ""
        path = request.scope.get("raw_path", request.url.path.encode()).decode("ascii", "replace")
        return RedirectResponse(f"{base}{path.split('?')[0]}{query}", 307)

    for path in paths:
        router.add_api_route(path, lead, methods=["GET"])
    return router
