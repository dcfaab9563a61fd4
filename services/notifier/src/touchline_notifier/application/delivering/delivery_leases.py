"""How long this process may still send what it has claimed, by its own clocks.

A process that was stopped (SIGSTOP, a suspended machine) wakes without knowing it. Its leases have run out meanwhile,
and another worker may have sent the same delivery: so the clocks are read again at the last moment before a send.
"""

import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from datetime import timedelta
from typing import NamedTuple

_MARGIN_SECONDS = 1.0
"""A send that has begun needs a moment."""


may_still_send: ContextVar[Callable[[], bool]] = ContextVar("may_still_send", default=lambda: True)
"""Whether the delivery that is being sent still belongs to this worker: channels ask at the last moment."""


class LeaseLostError(Exception):
    """The lease ended before the delivery was sent: another worker may be sending it."""


class LeaseEnd(NamedTuple):
    """When a lease ends, by two clocks: one is not set by hand, the other also runs while the machine sleeps."""

    steady: float
    wall: float


class Leases:
    """The deliveries that this worker has leased, and until when."""

    def __init__(self) -> None:
        self._until: dict[str, LeaseEnd] = {}

    @staticmethod
    def end(length: timedelta) -> LeaseEnd:
        """The end of a lease that is asked for now: read the clocks before asking, the answer may take long."""
        seconds = length.total_seconds() - _MARGIN_SECONDS
        return LeaseEnd(_steady() + seconds, time.time() + seconds)

    def hold(self, deliveries: Iterable[str], until: LeaseEnd) -> None:
        """Note that these are leased until then."""
        for delivery in deliveries:
            self._until[delivery] = until

    def give_up(self, delivery: str) -> None:
        """The delivery is concluded."""
        self._until.pop(delivery, None)

    def valid(self, delivery: str) -> bool:
        """Whether no other worker can have taken it over."""
        until = self._until.get(delivery)
        return until is not None and _steady() < until.steady and time.time() < until.wall


def _steady() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
