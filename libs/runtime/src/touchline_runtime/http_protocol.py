"""HTTP/1.1 for the open internet: uvicorn's protocol, with an end to patience for what a connection never finishes.

uvicorn waits for ever for a head that comes a byte a minute, for the rest of a body that nobody reads any more (the
request was answered), and for a request after a blank line; a few thousand such connections ("slow loris") would hold
every file descriptor of the process. How long a body may take that is being read is its reader's decision.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 15.0
"""From a connection's start, or from the first byte of a further request, to the end of the request's head."""

LEFT_OVER_SECONDS = 15.0
"""For the rest of a body after its request was answered. Closing at once could cost the sender the answer."""

MOST_HEAD_BYTES = 64 * 1024


class GuardedHttpProtocol(HttpToolsProtocol):
    """Closes connections that take too long for a request's head or a body left over, or whose head is too large."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_deadline: asyncio.TimerHandle | None = None
        self._left_over_deadline: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._in_message = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
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
        if self._in_message and self._answered() and self._left_over_deadline is None:
            self._left_over_deadline = self.loop.call_later(LEFT_OVER_SECONDS, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for any more."""
        self._head_arrived()
        self._left_over_arrived()
        super().connection_lost(exc)

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
