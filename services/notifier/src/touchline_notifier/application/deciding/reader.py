"""The reader: runs one session after the other.

A session is one consumer and its database connections. Any error of Kafka or PostgreSQL ends it. The next one starts
from the offsets in the database, so nothing is lost and nothing happens twice.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from touchline_runtime.errors import Unavailable
from touchline_runtime.kafka.shutdown import cancelled_by_us
from touchline_runtime.process.repeated_faults import FaultLog

from touchline_notifier.application.deciding.partition import PartitionProcessor
from touchline_notifier.application.deciding.session import Observer, PartitionSession
from touchline_notifier.application.plays.live import DecidingPlays
from touchline_notifier.application.session_ports import Diagnose, OpenSession

log = structlog.get_logger(__name__)

_WORKED_SECONDS = 60.0
"""A session that lasted this long had no fault: the next one is reported, whatever was reported before."""
_STABLE_SECONDS = 10.0
"""A session that lasts this long works: what ended the one before is over."""


class Reader:
    """Runs sessions until told to stop. A component of the notifier's process."""

    name = "reader"

    def __init__(
        self,
        open_session: OpenSession,
        diagnose: Diagnose,
        plays: DecidingPlays,
        observer: Observer,
        *,
        sending: bool,
        stall_seconds: float,
        wake_delivery: Callable[[], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._open_session = open_session
        self._diagnose = diagnose
        self._plays = plays
        self._observer = observer
        self._sending = sending
        self._stall_seconds = stall_seconds
        self._wake_delivery = wake_delivery
        self._clock = clock
        self.working = False
        self._fault = ""
        self._ended = FaultLog(log, "session_ended")
        self._failed = FaultLog(log, "session_failed", level="error")
        self._began = 0.0
        self._progress_at = 0.0

    async def check(self) -> None:
        """A health check: a session is under way and makes progress.

        Raises:
            Unavailable: it is not.
        """
        if not self.working:
            raise Unavailable(
                "no session with Kafka and PostgreSQL: one of them is away, or the group is still forming"
                + (f" ({self._fault})" if self._fault else "")
            )
        idle = time.monotonic() - self._progress_at
        if idle > self._stall_seconds:
            raise Unavailable(f"no progress for {idle:.0f} s: PostgreSQL or Kafka does not answer")

    async def run(self, stopping: asyncio.Event) -> None:
        """Read and decide."""
        while not stopping.is_set():
            began = self._began = time.monotonic()
            self._observer.session()
            try:
                await self._session(stopping)
            except (Exception, asyncio.CancelledError) as error:
                if cancelled_by_us():
                    raise
                if time.monotonic() - began > _WORKED_SECONDS:
                    self._fault = ""
                wait = self._report(error)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), wait)

    def _report(self, error: BaseException) -> float:
        """Log why a session ended, one that is blocked only once; seconds until the next session."""
        fault = self._diagnose(error)
        again, self._fault = fault.text == self._fault, fault.text
        if fault.kind == "passing":
            self._ended.failed(fault.text)
        elif fault.kind == "failed":
            self._failed.failed(fault.text, exc_info=error)
        elif not again:
            log.error("session_blocked", error=fault.text, retry_seconds=fault.retry_seconds)
        return fault.retry_seconds

    async def _session(self, stopping: asyncio.Event) -> None:
        async with self._open_session() as resources:
            context = await self._plays.as_of(resources.store.plays)
            processor = PartitionProcessor(resources.store, context, self._sending, self._clock)
            session = PartitionSession(resources, processor, self._observer, self._plays)
            try:
                await session.run(stopping, self._wake_delivery, self._note_progress)
            finally:
                # Before the wait for the next session: a reader that is blocked is not ready and owns nothing.
                self.working = False
                self._observer.owned(())

    def _note_progress(self) -> None:
        """The session works, and Kafka has answered."""
        self.working, self._progress_at = True, time.monotonic()
        if self._progress_at - self._began > _STABLE_SECONDS:
            self._ended.over()
            self._failed.over()
