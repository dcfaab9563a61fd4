"""Waiting at start for a server that is still starting, and saying so."""

import asyncio
import time

import structlog

from touchline_runtime.errors import Unavailable

log = structlog.get_logger(__name__)

_TRY_EVERY = 0.5
_TELL_EVERY = 10.0


class Patience:
    """Waits between attempts to reach a server, until there is no more time for it.

    The log tells at the first failed attempt and then every ten seconds.
    """

    def __init__(self, server: str, seconds: float) -> None:
        """``server``: what is waited for, in words; ``seconds``: for how long."""
        self._server = server
        self._seconds = seconds
        self._began = time.monotonic()
        self._told: float | None = None

    async def wait(self, error: BaseException, otherwise: str) -> None:
        """Wait a moment after a failed attempt.

        Raises:
            Unavailable: the time is over; with the words of ``otherwise``.
        """
        now = time.monotonic()
        if now - self._began > self._seconds:
            raise Unavailable(otherwise) from None
        if self._told is None or now - self._told >= _TELL_EVERY:
            self._told = now
            left = max(0, round(self._began + self._seconds - now))
            log.warning("waiting", server=self._server, error=str(error), gives_up_in_seconds=left)
        await asyncio.sleep(_TRY_EVERY)
