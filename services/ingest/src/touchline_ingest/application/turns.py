"""In which order, and how fast, requests are worked on when more come than can be.

Reading a body costs a process a millisecond or more, and all requests share one event loop. Without an order a thousand
requests that arrive at once are read one after the other before anything else runs: health checks and Kafka's answers
wait for seconds, and most of the senders have given up when they are answered. So only a few are begun in each turn of
the event loop, in order of arrival, and those that have waited too long are refused before they cost more.
"""

import asyncio
from collections import deque

from touchline_ingest.application.ports import Overloaded

AT_ONCE = 4
"""Requests that are begun in one turn of the event loop."""

REFUSED_AT_ONCE = 32
"""Requests that are refused in one turn; an answer costs less than a body."""

MOST_WAIT_SECONDS = 5.0
"""Who has waited longer is refused. While the first in line has, nobody joins the line. Half of the time that senders
are given for an answer (``ack_timeout_seconds``)."""


class Turns:
    """A line of requests."""

    def __init__(self, *, at_once: int = AT_ONCE, most_wait: float = MOST_WAIT_SECONDS) -> None:
        self._at_once = at_once
        self._most_wait = most_wait
        self._line: deque[tuple[float, asyncio.Future[bool]]] = deque()
        self._begun = 0
        self._turning = False

    async def wait(self) -> None:
        """Return when it is this request's turn.

        Raises:
            Overloaded: it waited too long, or would.
        """
        loop = asyncio.get_running_loop()
        if not self._line and self._begun < self._at_once:
            self._begun += 1
            self._turn_soon(loop)
            return
        now = loop.time()
        if self._line and now - self._line[0][0] > self._most_wait:
            raise _overloaded()
        turn: asyncio.Future[bool] = loop.create_future()
        self._line.append((now, turn))
        if not await turn:
            raise _overloaded()

    def _turn_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._turning:
            self._turning = True
            loop.call_soon(self._next_turn, loop)

    def _next_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._turning = False
        self._begun = refused = 0
        now = loop.time()
        while self._line and self._begun < self._at_once and refused < REFUSED_AT_ONCE:
            since, turn = self._line.popleft()
            if turn.done():
                continue  # its sender has disconnected
            begins = now - since <= self._most_wait
            turn.set_result(begins)
            self._begun += begins
            refused += not begins
        if self._line or self._begun:
            self._turn_soon(loop)


def _overloaded() -> Overloaded:
    return Overloaded("more requests arrive than can be worked on: try again shortly")
