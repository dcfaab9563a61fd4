"""Logs what senders cause again and again: at once, then a line a minute with how often it happened.

A fault of this process that is met at every retry has :mod:`touchline_runtime.process.repeated_faults`.
"""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from structlog.stdlib import BoundLogger

EVERY_SECONDS = 60.0
"""Between two lines about the same."""
_MOST = 1000
"""Different causes that are told apart; beyond it, the one whose line is the oldest is forgotten."""


@dataclass(slots=True)
class _Seen:
    logged_at: float
    since: int = 0
    """Times since that line."""


class EventLog:
    """The log of one kind of event, for everything in a process that may cause it.

    Args:
        event: the name of the line. It has ``times``: how often it happened since the line before, this time included.
    """

    def __init__(self, log: BoundLogger, event: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._event = event
        self._clock = clock
        self._seen: dict[Hashable, _Seen] = {}

    def happened(self, cause: Hashable, times: int = 1, /, **fields: Any) -> None:
        """It happened: a line, unless there was one for the same cause within a minute.

        Args:
            cause: what tells one from another, such as a source's name.
            times: how often.
            fields: of the line; examples where they differ from time to time.
        """
        now, seen = self._clock(), self._seen.pop(cause, None)
        if seen is not None and now - seen.logged_at < EVERY_SECONDS:
            seen.since += times
            self._seen[cause] = seen
            return
        self._log.warning(self._event, **fields, times=times + (seen.since if seen else 0))
        self._seen[cause] = _Seen(now)
        if len(self._seen) > _MOST:
            del self._seen[min(self._seen, key=lambda one: self._seen[one].logged_at)]
