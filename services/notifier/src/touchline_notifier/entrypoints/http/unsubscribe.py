"""The unsubscribe routes: a page for people, and one click for mail programs (RFC 8058). No cookies, no credentials.

The token is in the path, so the path of these routes belongs in no log.
"""

import asyncio
import contextlib
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.requests import ClientDisconnect
from touchline_runtime.errors import Unavailable

from touchline_notifier.application.api_ports import Choice, Unsubscribe
from touchline_notifier.entrypoints.http.html import Page, render

_LARGEST_BODY = 10_000
_BODY_SECONDS = 5.0
_RETRY_AFTER_SECONDS = 30

_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

log = structlog.get_logger(__name__)


def unsubscribe_router(unsubscribe: Unsubscribe) -> APIRouter:
    """Both routes."""
    router = APIRouter(prefix="/v1/unsubscribe", tags=["unsubscribe"])

    @router.get("/{token}", summary="A page with a button", response_class=HTMLResponse)
    async def page(token: str, request: Request) -> Response:
        # Mail scanners follow links, so a GET changes nothing.
        if "preferences" in request.query_params:
            # The pages' link to the preferences: no page contains the token.
            return RedirectResponse(f"{token}/preferences", 303, {"Cache-Control": "no-store"})
        try:
            channel = await unsubscribe.channel(token)
        except Unavailable:
            return _later()
        return _page("unsubscribe.html", channel)

    @router.post("/{token}", summary="Unsubscribe at once (RFC 8058)", response_class=HTMLResponse)
    async def one_click(token: str, request: Request) -> Response:
        # Multipart or urlencoded, List-Unsubscribe=One-Click or the page's button: only the token matters.
        try:
            channel = await unsubscribe(token, datetime.now(UTC))
        except Unavailable:
            return _later()
        except Exception as error:
            # Whatever the error, the customer is asked to try again; the traceback holds no token.
            log.error("unsubscribe_failed", exc_info=error)
            return _later()
        await _read(request)
        return _page("unsubscribed.html", channel)

    @router.get("/{token}/preferences", summary="What a customer wants to get", response_class=HTMLResponse)
    async def preferences(token: str) -> Response:
        try:
            choices = await unsubscribe.choices(token)
        except Unavailable:
            return _later()
        return _choices(choices, saved=False)

    @router.post("/{token}/preferences", summary="Choose what to get", response_class=HTMLResponse)
    async def choose(token: str, request: Request) -> Response:
        body = await _read(request)
        if body is None:
            return _later()  # a channel whose box did not arrive was not refused
        try:
            fields = parse_qsl(body.decode("utf-8", "replace"), max_num_fields=200)
            chosen = {value for name, value in fields if name == "channel"}
            choices = await unsubscribe.choose(token, chosen, datetime.now(UTC))
        except Unavailable:
            return _later()
        except Exception as error:
            # Whatever the error, the customer is asked to try again; the traceback holds no token.
            log.error("preferences_failed", exc_info=error)
            return _later()
        return _choices(choices, saved=True)

    return router


def _choices(choices: list[Choice] | None, *, saved: bool) -> HTMLResponse:
    if choices is None:
        return _answer("no_link.html", 404)
    shown = [(choice.channel, _title(choice.channel), choice.given) for choice in choices]
    return _answer("preferences.html", 200, choices=shown, saved=saved)


def _title(channel: str) -> str:
    return "E-mail" if channel == "email" else channel.replace("-", " ").replace("_", " ").capitalize()


async def _read(request: Request) -> bytes | None:
    """The body: some clients read no answer before they have sent it. None: too large, or it did not come."""
    body = bytearray()
    with contextlib.suppress(ClientDisconnect, TimeoutError):
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _LARGEST_BODY:
                    return None
            return bytes(body)
    return None


def _page(template: str, channel: str | None) -> HTMLResponse:
    if channel is None:
        return _answer("no_link.html", 404)
    return _answer(template, 200, channel=channel)


def _later() -> HTMLResponse:
    answer = _answer("unsubscribe_later.html", 503)
    answer.headers["Retry-After"] = str(_RETRY_AFTER_SECONDS)
    return answer


def _answer(template: str, status: int, **values: object) -> HTMLResponse:
    headers = {
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Robots-Tag": "noindex",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": _PAGE_POLICY,
    }
    return Page(render(template, **values), status, headers)
