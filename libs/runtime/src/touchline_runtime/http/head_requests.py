"""``HEAD``: the answer of ``GET`` without its body (RFC 9110 §9.3.2), on every route that answers ``GET``.

Mail scanners, link checkers and load balancers send it. A route whose ``GET`` records something has a ``HEAD`` of its
own, which records nothing.
"""

import asyncio
from collections.abc import Callable, Iterable

from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadRequests:
    """An ASGI middleware.

    Args:
        routes: the application's routes.
    """

    def __init__(self, app: ASGIApp, routes: Callable[[], Iterable[BaseRoute]]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, a ``HEAD`` as a ``GET`` where the route has none of its own."""
        if scope["type"] != "http" or scope["method"] != "HEAD" or self._has_its_own(scope):
            await self._app(scope, receive, send)
            return
        # The server drops the body by the method in its own scope.
        asked = {**scope, "method": "GET"}
        answer = _Answer(receive, send)
        try:
            await self._app(asked, answer.receive, answer.send)
        finally:
            # What measures requests reads the route from the scope that it passed on.
            scope.update({name: value for name, value in asked.items() if name != "method"})
        await answer.end()

    def _has_its_own(self, scope: Scope) -> bool:
        return any(route.matches(scope)[0] == Match.FULL for route in self._routes())


class _Answer:
    """Sends the head of an answer; an answer that would go on, such as a stream, is told that the client has left."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._begun = asyncio.Event()
        self._ended = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._send(message)
            self._begun.set()
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            await self.end()

    async def end(self) -> None:
        if self._begun.is_set() and not self._ended:
            self._ended = True
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def receive(self) -> Message:
        received = asyncio.ensure_future(self._receive())
        begun = asyncio.ensure_future(self._begun.wait())
        try:
            await asyncio.wait((received, begun), return_when=asyncio.FIRST_COMPLETED)
            if self._begun.is_set():
                return {"type": "http.disconnect"}
            return received.result()
        finally:
            received.cancel()
            begun.cancel()
