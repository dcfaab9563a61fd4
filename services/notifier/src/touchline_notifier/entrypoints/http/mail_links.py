"""The pixel and the links of tracked mails. No cookies, no credentials.

The token is in the path, so the path of these routes belongs in no log.
"""

from datetime import UTC, datetime
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from touchline_runtime.errors import Unavailable
from touchline_runtime.user_agents import fetches_ahead, is_machine

from touchline_notifier.application.api_ports import MailLinks
from touchline_notifier.core.tracking.links import PREFIX
from touchline_notifier.entrypoints.http.customer_texts import language, texts
from touchline_notifier.entrypoints.http.html import Page, render

_PIXEL = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00"
    b"\x01\x00\x00\x02\x01D\x00;"
)
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
    "X-Content-Type-Options": "nosniff",
}
_RETRY_AFTER_SECONDS = "30"
_ASCII = "".join(map(chr, range(0x21, 0x7F)))
"""What an address may hold in a header. It is written as it is, but for white space, controls and other characters."""


def mail_links_router(links: MailLinks) -> APIRouter:
    """Both routes. A ``HEAD`` records nothing: only programs send it."""
    router = APIRouter(prefix=PREFIX.rstrip("/"), tags=["mail tracking"])

    async def pixel(token: str, request: Request) -> Response:
        # Whatever the token is, a mail shows no broken image.
        await links.opened(token, datetime.now(UTC), machine=_by_machine(request), recorded=request.method == "GET")
        return Response(_PIXEL, headers=_HEADERS, media_type="image/gif")

    async def link(token: str, request: Request) -> Response:
        recorded = request.method == "GET"
        try:
            target = await links.clicked(token, datetime.now(UTC), machine=_by_machine(request), recorded=recorded)
        except Unavailable:
            return _page(request, "link_later.html", 503, {"Retry-After": _RETRY_AFTER_SECONDS})
        if target is None:
            return _page(request, "no_link.html", 404, {})
        return Response(status_code=302, headers={**_HEADERS, "Location": quote(target, safe=_ASCII)})

    for path, handler, summary in (
        ("/opened/{token}", pixel, "The pixel of a tracked mail"),
        ("/clicked/{token}", link, "A link of a tracked mail: leads on to its target"),
    ):
        router.add_api_route(path, handler, methods=["GET"], summary=summary, response_class=Response)
        router.add_api_route(path, handler, methods=["HEAD"], include_in_schema=False, response_class=Response)
    return router


def _by_machine(request: Request) -> bool:
    return is_machine(request.headers.get("user-agent")) or fetches_ahead(request.headers)


def _page(request: Request, template: str, status: int, headers: dict[str, str]) -> Page:
    spoken = language((), request.headers.get("accept-language"))
    page = render(template, language=spoken, t=texts()[spoken])
    return Page(page, status, {**_HEADERS, **headers, "Content-Language": spoken})
