"""HTTP/1.1 for the open internet: uvicorn's protocol with limits on what a connection may hold, and for how long.

uvicorn waits without limit for a head that comes a byte a minute, for the rest of a body whose request was answered,
for a request after a blank line, and for a client that does not read its answers; it queues any number of requests that
a client sends ahead. A few thousand such connections ("slow loris") would hold every file descriptor or the memory of
the process. The handler that reads a body sets the limit for it.
"""

import asyncio
from typing import Any
from weakref import WeakKeyDictionary

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from touchline_runtime.process.connection_limit import ConnectionLimit

HEAD_SECONDS = 15.0
"""From a connection's start, or from the first byte of a further request, to the end of the request's head."""

LEFT_OVER_SECONDS = 15.0
"""For the rest of a body after its request was answered. The sender may not see the answer if the connection closes at
once."""

UNREAD_SECONDS = 30.0
"""For the client to read something, when more waits to be sent than the operating system takes."""

CLOSING_SECONDS = 1.0
"""For a client to read the rest when its connection is closed before its time."""

MOST_HEAD_BYTES = 64 * 1024

MOST_QUEUED_REQUESTS = 16
"""Sent ahead on one connection (pipelining). The last one's answer closes the connection; what follows is dropped."""

MAX_CONNECTIONS = 2_000
"""Open at once, unless the settings say otherwise."""

MORE_FOR_HEALTH = 32
"""Connections beyond the limit whose heads are read: health is answered, everything else 503."""

_HEALTH = ("/healthz", "/readyz")
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

_limits: WeakKeyDictionary[ServerState, ConnectionLimit] = WeakKeyDictionary()


class GuardedHttpProtocol(HttpToolsProtocol):
    """Closes connections that take too long to send a head or the rest of a body, or to read an answer.

    Beyond ``max_connections`` a new connection takes the place of one that waits for its client: see
    :mod:`touchline_runtime.process.connection_limit`. When all are busy, it is answered 503, unless it asks for health.
    """

    max_connections = MAX_CONNECTIONS

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        limit = _limits.get(self.server_state)
        if limit is None:
            limit = _limits[self.server_state] = ConnectionLimit(self.max_connections)
        self._limit = limit
        self._health_only = False
        self._head_deadline: asyncio.TimerHandle | None = None
        self._left_over_deadline: asyncio.TimerHandle | None = None
        self._unread_deadline: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._read_on = 0
        self._in_message = False
        self._queue_full = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head, where there is room for the connection."""
        super().connection_made(transport)
        if not self._limit.opened(self, self.loop.time()):
            self._health_only = True
            if len(self._limit) > self.max_connections + MORE_FOR_HEALTH:
                self._refuse()
                return
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Read on, unless the head grows beyond bounds."""
        super().data_received(data)
        if self._head_deadline is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self.give_way()
        elif not self._in_message and self._answered():
            # A blank line, or the end of a body left over: any byte ends uvicorn's own wait for the next request.
            self._await_head()

    def on_message_begin(self) -> None:
        """A further request on a kept-alive connection begins."""
        super().on_message_begin()
        if self._queue_full:
            return
        self._in_message = True
        if self._head_deadline is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._head_arrived()
        if self._queue_full or self.transport.is_closing():
            return
        if self._health_only and self.url.partition(b"?")[0].decode("latin-1") not in _HEALTH:
            self._refuse()
            return
        super().on_headers_complete()
        self._limit.slow(self, self.loop.time())
        if self._health_only:
            self.cycle.keep_alive = False
        if len(self.pipeline) >= MOST_QUEUED_REQUESTS:
            self._queue_full = True
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        if self.cycle is not None and self._in_message:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The whole request is there."""
        if self.cycle is None or not self._in_message:
            return
        super().on_message_complete()
        self._in_message = False
        self._left_over_arrived()
        if self._answered():
            self._limit.idle(self, kept=True)
        else:
            self._limit.busy(self)

    def on_response_complete(self) -> None:
        """It is answered; some of its body may still be on its way."""
        super().on_response_complete()
        self._watch_unread()
        if not self._answered():
            return
        self._limit.idle(self, kept=not self._in_message)
        if self._in_message and self._left_over_deadline is None:
            self._left_over_deadline = self.loop.call_later(LEFT_OVER_SECONDS, self.give_way)

    def pause_writing(self) -> None:
        """The client does not read as fast as it is answered."""
        super().pause_writing()
        self._limit.slow(self, self.loop.time())
        self._watch_unread()

    def resume_writing(self) -> None:
        """It has read on."""
        super().resume_writing()
        self._read_on += 1
        if self._answered():
            self._limit.idle(self, kept=not self._in_message)
        elif not self._in_message:
            self._limit.busy(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for any more."""
        self._limit.closed(self)
        self._head_arrived()
        self._left_over_arrived()
        if self._unread_deadline is not None:
            self._unread_deadline.cancel()
        super().connection_lost(exc)

    def timeout_keep_alive_handler(self) -> None:
        """No further request came."""
        self.give_way()

    def give_way(self) -> None:
        """Close the connection; what its client does not read soon is dropped."""
        self._head_arrived()
        self._left_over_arrived()
        if self.transport.is_closing():
            self.transport.abort()
            return
        self.transport.close()
        if self.transport.get_write_buffer_size():
            # It would stay open until the client has read everything.
            self.loop.call_later(CLOSING_SECONDS, self.transport.abort)

    def _refuse(self) -> None:
        self._head_arrived()
        self.transport.write(_FULL)
        self.transport.close()

    def _answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _await_head(self) -> None:
        self._head_bytes = 0
        late = self._refuse if self._health_only else self.give_way
        self._head_deadline = self.loop.call_later(HEAD_SECONDS, late)

    def _head_arrived(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _left_over_arrived(self) -> None:
        if self._left_over_deadline is not None:
            self._left_over_deadline.cancel()
            self._left_over_deadline = None

    def _watch_unread(self) -> None:
        """Abort the connection unless the client reads; one that is closing, too: it waits for what is unsent."""
        unsent = self.transport.get_write_buffer_size()
        if unsent and self._unread_deadline is None and (self.flow.write_paused or self._answered()):
            self._unread_deadline = self.loop.call_later(UNREAD_SECONDS, self._check_unread, unsent, self._read_on)

    def _check_unread(self, unsent_before: int, read_on_before: int) -> None:
        self._unread_deadline = None
        waits = self.flow.write_paused or self._answered()
        if waits and self._read_on == read_on_before and self.transport.get_write_buffer_size() >= unsent_before:
            self.transport.abort()
        else:
            self._watch_unread()

    def _should_upgrade_to_ws(self) -> bool:
        """Never: nothing here speaks WebSocket, and its connections would escape every limit."""
        return False

    def _unsupported_upgrade_warning(self) -> None:
        """The request is answered like any other."""


def limited_to(max_connections: int) -> type[GuardedHttpProtocol]:
    """The protocol, with that many connections at once."""
    return type("LimitedHttpProtocol", (GuardedHttpProtocol,), {"max_connections": max_connections})
