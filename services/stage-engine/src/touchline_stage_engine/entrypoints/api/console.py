"""``/``: the console, one page that asks the query API. It needs nothing from other hosts."""

from importlib.resources import files

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

_POLICY = (
    "default-src 'self'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)


def console_router() -> APIRouter:
    """The route of the console."""
    router = APIRouter(include_in_schema=False)
    page = (files("touchline_stage_engine.entrypoints.api") / "console.html").read_text()

    @router.get("/")
    async def console() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY, "X-Frame-Options": "DENY"})

    return router
