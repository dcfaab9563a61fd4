"""Retries at start, while Kafka or PostgreSQL is still starting, with a log entry."""

import asyncio
import time
from collections.abc import Awaitable
from typing import TypeVar

import structlog

from touchline_runtime.errors import Unavailable

log = structlog.get_logger(__name__)

T = TypeVar("T")

_RETRY_SECONDS = 0.5
_SILENCE_SECONDS = 3.0
_REPORT_SECONDS = 10.0
NAME_SECONDS = 3.0
"""How long to wait for a host name to resolve: a name server may be starting, but a wrong name never resolves."""


class StartupRetry:
    """Waits between attempts to reach a server, until there is no more time for it.

    Logs the first failed attempt, then one every ten seconds.
    """

    def __init__(self, server: str, seconds: float) -> None:
        """``server``: its name for the log; ``seconds``: how long to retry."""
        self._server = server
        self._seconds = seconds
        self._began = time.monotonic()
        self._reported: float | None = None

    def is_younger_than(self, seconds: float) -> bool:
        """Whether the first attempt was less than so many seconds ago."""
        return time.monotonic() - self._began < seconds

    async def wait(self, error: BaseException | str, otherwise: str) -> None:
        """Wait a moment after a failed attempt.

        Raises:
            Unavailable: the time is over; ``otherwise`` is its text.
        """
        self.report(error, otherwise)
        await asyncio.sleep(_RETRY_SECONDS)

    async def watch(self, attempt: Awaitable[T], silence: str, otherwise: str) -> T:
        """The result of an attempt. One that a server leaves without an answer is reported, and ends with the time.

        Args:
            silence: what to report while there is no answer.

        Raises:
            Unavailable: the time is over; ``otherwise`` is its text.
        """
        pending = asyncio.ensure_future(attempt)
        patience = _SILENCE_SECONDS
        try:
            while not (await asyncio.wait({pending}, timeout=patience))[0]:
                self.report(silence, otherwise)
                patience = _RETRY_SECONDS
            return await pending
        finally:
            if not pending.done():
                pending.cancel()
                await asyncio.wait({pending})

    def report(self, error: BaseException | str, otherwise: str) -> None:
        """Log that the server is still waited for, where the last such entry is old enough.

        Raises:
            Unavailable: the time is over; ``otherwise`` is its text.
        """
        now = time.monotonic()
        if now - self._began > self._seconds:
            raise Unavailable(otherwise) from None
        if self._reported is None or now - self._reported >= _REPORT_SECONDS:
            self._reported = now
            left = max(0, round(self._began + self._seconds - now))
            # A timeout has no text.
            words = str(error) or type(error).__name__
            log.warning("waiting", server=self._server, error=words, gives_up_in_seconds=left)
