"""Logs a fault that is met again at every retry: at once, then once a minute, and when it is over."""

import time
from collections.abc import Callable
from typing import Any, Literal

from structlog.stdlib import BoundLogger

EVERY_SECONDS = 60.0
"""Between two lines about a fault that goes on."""
_MOST_REASONS = 20
"""Of one outage that get a line of their own. More: the reason changes with every attempt."""

_Level = Literal["warning", "error"]


class FaultLog:
    """The log of one kind of fault, for everything in a process that may have it.

    The first attempt that fails is logged, and so is each new reason; after that one line a minute says how many
    attempts failed and which sources still fail. When no source fails any more, ``fault_over`` is logged. A fault that
    comes and goes has one line a minute, too.

    Args:
        event: the name of the line.
        sources: the field that names what fails, such as ``partitions``; empty: there is only one source.
        level: of the line.
    """

    def __init__(
        self,
        log: BoundLogger,
        event: str,
        *,
        sources: str = "",
        level: _Level = "warning",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._event = event
        self._sources = sources
        self._level = level
        self._clock = clock
        self._failing: set[Any] = set()
        self._reasons: set[str] = set()
        self._reported: dict[str, float] = {}
        self._attempts = 0
        self._began = 0.0
        self._last: float | None = None
        self._was_logged = False

    def failed(self, error: str, *, source: Any = None, reason: str | None = None, **fields: Any) -> None:
        """An attempt failed.

        Args:
            error: what is wrong.
            reason: the same without what differs from source to source or from attempt to attempt.
            fields: of the line.
        """
        now, reason = self._clock(), error if reason is None else reason
        if not self._failing:
            self._began = now
        self._failing.add(source)
        self._attempts += 1
        if self._is_due(reason, now):
            self._last, self._was_logged = now, True
            self._reported = {known: at for known, at in self._reported.items() if now - at < EVERY_SECONDS}
            self._reported[reason] = now
            named = {self._sources: sorted(self._failing)} if self._sources else {}
            write = self._log.error if self._level == "error" else self._log.warning
            write(self._event, error=error, attempts=self._attempts, **named, **fields)
        self._reasons.add(reason)

    def _is_due(self, reason: str, now: float) -> bool:
        if self._last is None or now - self._last >= EVERY_SECONDS:
            return True
        if reason in self._reasons or len(self._reasons) >= _MOST_REASONS:
            return False
        return now - self._reported.get(reason, -EVERY_SECONDS) >= EVERY_SECONDS

    def over(self, source: Any = None) -> None:
        """A source works."""
        self._end(source, works=True)

    def released(self, source: Any = None) -> None:
        """A source is no longer this process's: whether it works is not known."""
        self._end(source, works=False)

    def _end(self, source: Any, *, works: bool) -> None:
        if source not in self._failing:
            return
        self._failing.discard(source)
        if self._failing:
            return
        if self._was_logged and works:
            seconds = round(self._clock() - self._began, 1)
            self._log.info("fault_over", fault=self._event, attempts=self._attempts, seconds=seconds)
        self._reasons.clear()
        self._attempts, self._was_logged = 0, False
