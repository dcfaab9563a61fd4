"""The unsubscribe link: a page for people, and one click for mail programs (RFC 8058). No cookies, no credentials."""

from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from touchline_notifier.core.delivery.unsubscribe import BadTokenError, UnsubscribeTokens, Unsubscription
from touchline_notifier.core.ports import Unsubscribe
from touchline_notifier.entrypoints.html import render

_LARGEST_BODY = 10_000


def unsubscribe_router(tokens: UnsubscribeTokens, unsubscribe: Unsubscribe) -> APIRouter:
    """Both routes."""
    router = APIRouter(prefix="/v1/unsubscribe", tags=["unsubscribe"])

    def read(token: str) -> Unsubscription | None:
        try:
            return tokens.read(token)
        except BadTokenError:
            return None

    @router.get("/{token}", summary="A page with a button", response_class=HTMLResponse)
    async def page(token: str) -> Response:
        # Mail scanners follow links, so a GET changes nothing.
        who = read(token)
        return _answer("unsubscribe.html", 200, channel=who.channel) if who else _answer("no_link.html", 404)

    @router.post("/{token}", summary="Unsubscribe at once (RFC 8058)", response_class=HTMLResponse)
    async def one_click(token: str, request: Request) -> Response:
        # Multipart or urlencoded, List-Unsubscribe=One-Click or the page's button: the token says it all.
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > _LARGEST_BODY:
                break
        who = read(token)
        if who is None:
            return _answer("no_link.html", 404)
        await unsubscribe(who.customer_id, who.channel, datetime.now(UTC))
        return _answer("unsubscribed.html", 200, channel=who.channel)

    return router


def _answer(template: str, status: int, **values: object) -> HTMLResponse:
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}
    return HTMLResponse(render(template, **values), status, headers)
