"""HTTP/1.1 for the open internet: uvicorn's protocol with time limits for incomplete requests.

uvicorn waits without limit for a head that comes a byte a minute, for the rest of a body whose request was answered,
and for a request after a blank line; a few thousand such connections ("slow loris") would hold
every file descriptor of the process. The handler that reads a body sets the limit for it.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 15.0
"""From a connection's start, or from the first byte of a further request, to the end of the request's head."""

LEFT_OVER_SECONDS = 15.0
"""For the rest of a body after its request was answered. The sender may not see the answer if the connection closes at
once."""

MOST_HEAD_BYTES = 64 * 1024

MAX_CONNECTIONS = 2_000
"""Open at once, unless the settings say otherwise."""

_FULL = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class GuardedHttpProtocol(HttpToolsProtocol):
    """Closes connections that take too long for a request's head or a body left over, or whose head is too large.

    Beyond ``max_connections`` a new connection takes the place of the one that has been idle the longest; when none is
    idle, it is answered 503.
    """

    max_connections = MAX_CONNECTIONS

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._idle_since = 0.0
        self._head_deadline: asyncio.TimerHandle | None = None
        self._left_over_deadline: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._in_message = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head, where there is room for the connection."""
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        if len(self.connections) > self.max_connections and not self._displace_idle():
            transport.write(_FULL)
            transport.close()
            return
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Read on, unless the head grows beyond bounds."""
        super().data_received(data)
        if self._head_deadline is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self._give_up()
        elif not self._in_message and self._answered():
            # A blank line, or the end of a body left over: any byte ends uvicorn's own wait for the next request.
            self._await_head()

    def on_message_begin(self) -> None:
        """A further request on a kept-alive connection begins."""
        super().on_message_begin()
        self._in_message = True
        if self._head_deadline is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._head_arrived()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The whole request is there."""
        super().on_message_complete()
        self._in_message = False
        self._left_over_arrived()

    def on_response_complete(self) -> None:
        """It is answered; some of its body may still be on its way."""
        super().on_response_complete()
        self._idle_since = self.loop.time()
        if self._in_message and self._answered() and self._left_over_deadline is None:
            self._left_over_deadline = self.loop.call_later(LEFT_OVER_SECONDS, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for any more."""
        self._head_arrived()
        self._left_over_arrived()
        super().connection_lost(exc)

    def _is_idle(self) -> bool:
        """No request is under way: it waits for one, for the rest of a head, or for a body left over."""
        if self._head_deadline is not None or self._left_over_deadline is not None:
            return True
        return not self._in_message and self._answered()

    def _displace_idle(self) -> bool:
        """Close the connection that has been idle the longest. Returns whether there is room for this one then."""
        others = [
            one
            for one in self.connections
            if isinstance(one, GuardedHttpProtocol) and one is not self and not one.transport.is_closing()
        ]
        if len(others) < self.max_connections:
            return True
        idle = [one for one in others if one._is_idle()]
        if not idle:
            return False
        min(idle, key=lambda one: one._idle_since)._give_up()
        return True

    def _answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._head_deadline = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _head_arrived(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _left_over_arrived(self) -> None:
        if self._left_over_deadline is not None:
            self._left_over_deadline.cancel()
            self._left_over_deadline = None

    def _give_up(self) -> None:
        self._head_arrived()
        self._left_over_arrived()
        if not self.transport.is_closing():
            self.transport.close()


def limited_to(max_connections: int) -> type[GuardedHttpProtocol]:
    """The protocol, with that many connections at once."""
    return type("LimitedHttpProtocol", (GuardedHttpProtocol,), {"max_connections": max_connections})
