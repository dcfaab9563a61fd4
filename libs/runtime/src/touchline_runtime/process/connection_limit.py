"""Which connection makes room for a new one when as many are open as may be.

A connection whose request is being worked on is never closed. All others wait for their client, in three groups:

- new: no request of it was ever answered, or the rest of a body is on its way whose request was answered;
- kept: it is kept alive between two requests;
- slow: it sends its body slowly, or does not read its answer.

The larger of the first two groups gives way, so that a crowd of one kind takes places from itself alone: neither do
silent connections close those of clients that are served, nor do kept ones close those that have just come. When both
are empty, the slow ones give way that have been so for longer than `SLOW_SECONDS`. In each group the one that has
waited the longest is first.
"""

from collections import OrderedDict
from typing import Protocol

SLOW_SECONDS = 10.0


class Displaceable(Protocol):
    """A connection, as far as it is needed here."""

    def give_way(self) -> None:
        """Close."""


class ConnectionLimit:
    """The connections of one server. Every operation takes the same time, however many there are.

    Attributes:
        most: how many may be open.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._open: set[Displaceable] = set()
        self._new: OrderedDict[Displaceable, None] = OrderedDict()
        self._kept: OrderedDict[Displaceable, None] = OrderedDict()
        self._slow: OrderedDict[Displaceable, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, connection: Displaceable, now: float) -> bool:
        """Count a new connection, and make room for it. Returns whether there is room."""
        self._open.add(connection)
        self._new[connection] = None
        while len(self._open) > self.most:
            other = self._next(connection, now)
            if other is None:
                return False
            self.closed(other)
            other.give_way()
        return True

    def closed(self, connection: Displaceable) -> None:
        """It is closed, or about to be."""
        self._open.discard(connection)
        self._forget(connection)

    def busy(self, connection: Displaceable) -> None:
        """A request is complete, and is worked on."""
        self._forget(connection)

    def idle(self, connection: Displaceable, *, kept: bool) -> None:
        """It waits for a request. kept: the last one was received to its end and answered."""
        self._forget(connection)
        if connection in self._open:
            (self._kept if kept else self._new)[connection] = None

    def slow(self, connection: Displaceable, now: float) -> None:
        """It waits until its client has sent a body, or read an answer."""
        if connection in self._open and connection not in self._slow:
            self._forget(connection)
            self._slow[connection] = now

    def _forget(self, connection: Displaceable) -> None:
        self._new.pop(connection, None)
        self._kept.pop(connection, None)
        self._slow.pop(connection, None)

    def _next(self, newest: Displaceable, now: float) -> Displaceable | None:
        # The newest is among the new ones, and does not give way to itself.
        if self._new and len(self._new) > max(1, len(self._kept)):
            return next(one for one in self._new if one is not newest)
        if self._kept:
            return next(iter(self._kept))
        slowest = next(iter(self._slow.items()), None)
        return slowest[0] if slowest is not None and now - slowest[1] > SLOW_SECONDS else None
