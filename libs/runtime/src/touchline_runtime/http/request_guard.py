"""Checks every request before its body is read: host, origin, token and size.

In this order:

1. ``Host``: a name that is not this process's is refused (DNS rebinding), on loopback too.
2. ``Sec-Fetch-Site`` and ``Origin``: a page of another origin may not send requests that change data. Browsers
   add Basic credentials by themselves, and a process on loopback asks for none (cross-site request forgery).
3. The token: every path needs one, except the open ones.
4. The body: no larger than the limit, and within its time. It is read here, so that no framework reads more. Where no
   body belongs (GET, HEAD, OPTIONS, and the open paths), none is waited for: it would hold a connection and memory.

Every response gets headers that keep browsers from guessing types, framing pages and running injected scripts.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from touchline_runtime.audit.entry import request_id_of
from touchline_runtime.config.exposure import Exposure
from touchline_runtime.http.api_page import PATHS as API_PAGE_PATHS
from touchline_runtime.http.auth import SAFE_METHODS, Access
from touchline_runtime.http.credentials import bearer_token
from touchline_runtime.http.problems import Problem

MAX_BODY_BYTES = 1_000_000
"""Of a request to an API or a page."""

BODY_SECONDS = 30.0

NO_PAGE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The content security policy of everything that is not a page."""

_ALWAYS_OPEN = frozenset(("/healthz", "/readyz", "/metrics"))

PathTest = Callable[[str], bool]


def no_path(_: str) -> bool:
    """None of them."""
    return False


class RequestGuard:
    """An ASGI middleware.

    Args:
        proven: paths that prove their requests themselves (a write key, a signature, a link's token): no API token is
            asked for, any ``Host`` is right, and their handlers read the body.
        cross_origin: those among them that pages of other origins are meant to use; nothing is checked or added.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access,
        exposure: Exposure | None,
        proven: PathTest = no_path,
        cross_origin: PathTest = no_path,
        max_body_bytes: int = MAX_BODY_BYTES,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self._app = app
        self._access = access
        self._exposure = exposure
        self._proven = proven
        self._cross_origin = cross_origin
        self._most = max_body_bytes
        self._body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request, then pass it on."""
        if scope["type"] != "http" or self._cross_origin(scope["path"]):
            await self._app(scope, receive, send)
            return
        send = _with_headers(send, scope)
        try:
            receive = await self._checked(scope, receive)
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _checked(self, scope: Scope, receive: Receive) -> Receive:
        path = scope["path"]
        connection = HTTPConnection(scope)
        proven = self._proven(path)
        if not proven:
            self._check_host(connection)
        self._check_origin(scope["method"], connection)
        if proven:
            return receive
        if self._is_open(path):
            return _without_body(receive)
        scope.setdefault("state", {})["token"] = self._access.authenticate(connection)
        scope["state"]["request_id"] = request_id_of(connection.headers.get("x-request-id"))
        return await self._bounded(connection, receive)

    def _is_open(self, path: str) -> bool:
        if path in _ALWAYS_OPEN:
            return True
        return path in API_PAGE_PATHS and (self._exposure is None or self._exposure.loopback)

    def _check_host(self, connection: HTTPConnection) -> None:
        host = connection.headers.get("host", "")
        if self._exposure is not None and not self._exposure.answers_to(host):
            raise Problem(
                421,
                f"this process is not {host[:200]!r}: if it is reached under that name, set TOUCHLINE_PUBLIC_URL or "
                "add the name to TOUCHLINE_ALLOWED_HOSTS",
                type="host-not-allowed",
            )

    def _check_origin(self, method: str, connection: HTTPConnection) -> None:
        if method in SAFE_METHODS:
            return
        headers = connection.headers
        # A page can't add this header for another origin unless it was allowed to, and nobody is.
        if bearer_token(headers.get("authorization", "")) is not None:
            return
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        exposure = self._exposure or Exposure()
        own = origin is not None and exposure.is_own_origin(origin, headers.get("host", ""))
        if site is not None:
            allowed = site in ("same-origin", "none") or (own and origin == exposure.public_origin)
        else:
            # No browser, or one of before 2020, which sends the origin of what is not a GET.
            allowed = origin is None or own
        if not allowed:
            raise Problem(
                403,
                f"a page of {(origin or 'another site')[:200]!r} may not change anything here: use this service's own "
                "pages, or a program with Authorization: Bearer TOKEN",
                type="cross-origin",
            )

    async def _bounded(self, connection: HTTPConnection, receive: Receive) -> Receive:
        """The body, read; what passes on gives it at once."""
        if connection.scope["method"] in SAFE_METHODS:
            return _without_body(receive)
        length = connection.headers.get("content-length")
        if length is not None and length.isdigit() and int(length) > self._most:
            raise _too_large(self._most)
        return await self._read(receive)

    async def _read(self, receive: Receive) -> Receive:
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] != "http.request":
                        return _giving(message, receive)
                    body += message.get("body", b"")
                    if len(body) > self._most:
                        raise _too_large(self._most)
                    more = message.get("more_body", False)
        except TimeoutError:
            raise Problem(
                408,
                f"the body did not arrive within {self._body_seconds:g} s",
                type="too-slow",
                headers={"Connection": "close"},
            ) from None
        return _giving({"type": "http.request", "body": bytes(body), "more_body": False}, receive)


def _too_large(most: int) -> Problem:
    # The connection stays open for a while: closed with half a body unread, the sender would not see the answer.
    return Problem(413, f"the body is larger than {most} bytes: send less", type="too-large")


def _without_body(receive: Receive) -> Receive:
    return _giving({"type": "http.request", "body": b"", "more_body": False}, receive)


def _giving(first: Message, receive: Receive) -> Receive:
    given = False

    async def give() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return first

    return give


_ADDED: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", NO_PAGE.encode()),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


def _with_headers(send: Send, scope: Scope) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers: Any = list(message.get("headers", ()))
            if (request_id := scope.get("state", {}).get("request_id")) is not None:
                headers.append((b"x-request-id", request_id.encode()))
            there = {name.lower() for name, _ in headers}
            message = {**message, "headers": [*headers, *(pair for pair in _ADDED if pair[0] not in there)]}
        await send(message)

    return sending
