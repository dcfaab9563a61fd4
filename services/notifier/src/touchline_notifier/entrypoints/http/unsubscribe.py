"""The unsubscribe routes: a page for people, and one click for mail programs (RFC 8058). No cookies, no credentials.

The token is in the path, so the path of these routes belongs in no log.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from urllib.parse import parse_qsl

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.requests import ClientDisconnect
from touchline_runtime.errors import Unavailable
from touchline_runtime.process.repeated_faults import FaultLog

from touchline_notifier.application.api_ports import Link, Preferences, Unsubscribe
from touchline_notifier.entrypoints.http.customer_texts import language, texts
from touchline_notifier.entrypoints.http.html import Page, render

_LARGEST_BODY = 10_000
_BODY_SECONDS = 5.0
_RETRY_AFTER_SECONDS = 30
_MOST_FIELDS = 500
_NAMED = ("email", "all")
"""Topics that have a text of ours."""

_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

log = structlog.get_logger(__name__)


def unsubscribe_router(unsubscribe: Unsubscribe) -> APIRouter:
    """Both routes."""
    router = APIRouter(prefix="/v1/unsubscribe", tags=["unsubscribe"])
    failing_clicks = FaultLog(log, "unsubscribe_failed", level="error")
    failing_choices = FaultLog(log, "preferences_failed", level="error")

    @router.get("/{token}", summary="A page with a button", response_class=HTMLResponse)
    async def page(token: str, request: Request) -> Response:
        # Mail scanners follow links, so a GET changes nothing.
        if "preferences" in request.query_params:
            # The pages' link to the preferences: no page contains the token.
            return RedirectResponse(f"{token}/preferences", 303, {"Cache-Control": "no-store"})
        try:
            link = await unsubscribe.link(token)
        except Unavailable:
            return _later(request)
        return _page(request, "unsubscribe.html", link)

    @router.post("/{token}", summary="Unsubscribe at once (RFC 8058)", response_class=HTMLResponse)
    async def one_click(token: str, request: Request) -> Response:
        # Multipart or urlencoded, List-Unsubscribe=One-Click or the page's button: only the token matters.
        try:
            link = await unsubscribe(token, datetime.now(UTC))
        except Unavailable:
            return _later(request)
        except Exception as error:
            # Whatever the error, the customer is asked to try again; the traceback holds no token.
            failing_clicks.failed(_words(error), reason=type(error).__name__, exc_info=error)
            return _later(request)
        failing_clicks.over()
        await _read(request)
        return _page(request, "unsubscribed.html", link)

    @router.get("/{token}/preferences", summary="What a customer wants to get", response_class=HTMLResponse)
    async def preferences(token: str, request: Request) -> Response:
        try:
            found = await unsubscribe.choices(token)
        except Unavailable:
            return _not_saved(request)
        return _preferences(request, found, saved=False)

    @router.post("/{token}/preferences", summary="Choose what to get", response_class=HTMLResponse)
    async def choose(token: str, request: Request) -> Response:
        body = await _read(request)
        if body is None:
            return _not_saved(request)  # a channel whose box did not arrive was not refused
        try:
            fields = parse_qsl(body.decode("utf-8", "replace"), max_num_fields=_MOST_FIELDS)
            chosen = {value for name, value in fields if name == "channel"}
            shown = {value for name, value in fields if name == "shown"}
            found = await unsubscribe.choose(token, chosen, shown or None, datetime.now(UTC))
        except Unavailable:
            return _not_saved(request)
        except Exception as error:
            # Whatever the error, the customer is asked to try again; the traceback holds no token.
            failing_choices.failed(_words(error), reason=type(error).__name__, exc_info=error)
            return _not_saved(request)
        failing_choices.over()
        return _preferences(request, found, saved=True)

    return router


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _preferences(request: Request, found: Preferences | None, *, saved: bool) -> HTMLResponse:
    if found is None:
        return _answer(request, "no_link.html", 404)
    return _answer(request, "preferences.html", 200, found.languages, topics=found.topics, saved=saved)


def _title(topic: str, said: Mapping[str, str]) -> str:
    """A topic's name: that of a list is the company's own."""
    own = topic.replace("-", " ").replace("_", " ").capitalize()
    return said[topic] if topic in _NAMED else own


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


def _page(request: Request, template: str, link: Link | None) -> HTMLResponse:
    if link is None:
        return _answer(request, "no_link.html", 404)
    return _answer(request, template, 200, link.languages, topic=link.channel)


def _later(request: Request, template: str = "unsubscribe_later.html") -> HTMLResponse:
    answer = _answer(request, template, 503)
    answer.headers["Retry-After"] = str(_RETRY_AFTER_SECONDS)
    return answer


def _not_saved(request: Request) -> HTMLResponse:
    # Without a form: one without boxes would refuse everything.
    return _later(request, "preferences_later.html")


def _answer(
    request: Request, template: str, status: int, languages: Sequence[str] = (), **values: object
) -> HTMLResponse:
    spoken = language(languages, request.headers.get("accept-language"))
    headers = {
        "Cache-Control": "no-store",
        "Content-Language": spoken,
        "Referrer-Policy": "no-referrer",
        "X-Robots-Tag": "noindex",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": _PAGE_POLICY,
    }
    said = texts()[spoken]
    return Page(render(template, language=spoken, t=said, title=partial(_title, said=said), **values), status, headers)
