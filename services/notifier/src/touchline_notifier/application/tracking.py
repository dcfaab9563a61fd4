"""Opens and clicks of our own mails: what a request for a pixel or a link sets off.

A click leads on whatever happens here. Events are written in batches, and a request waits for its own a moment, so that
little is lost when the process ends. While PostgreSQL is away, they wait in memory.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import structlog
from touchline_runtime.errors import Unavailable
from touchline_runtime.process.repeated_faults import FaultLog

from touchline_notifier.core.tracking.events import MailEvent
from touchline_notifier.core.tracking.tokens import MailLink, MailToken, MailTokens, OpenedMail
from touchline_notifier.core.unsubscribe.sealing import BadTokenError

log = structlog.get_logger(__name__)

MOST_WAITING = 10_000
"""Events that wait in memory while PostgreSQL is away."""
_AT_ONCE = 500
_WAIT_SECONDS = 1.0
_RETRY_SECONDS = 1.0
_JUDGE_EVERY_SECONDS = 1.0
_JUDGED_AT_ONCE = 200


class MailEventLog(Protocol):
    """Where events are kept. Every method raises ``Unavailable`` when the database does not answer."""

    async def record(self, events: Sequence[MailEvent]) -> None:
        """Keep events of actions that exist. One that is there already, in the same piece of the clock, stays."""

    async def judge(self, now: datetime, at_most: int) -> list[tuple[MailEvent, bool]]:
        """Publish touchpoints of events that have settled; each with whether a machine did it."""

    async def link_keys(self) -> list[bytes]:
        """Keys of all links that were ever sent."""


class _Waiting(NamedTuple):
    event: MailEvent
    written: asyncio.Future[None]


class MailEventWriter:
    """Writes events, in batches. A component of every process that answers requests.

    Args:
        lost: is told how many events are not written.
    """

    name = "mail-event-writer"

    def __init__(self, events: MailEventLog, lost: Callable[[int], None] = lambda _: None) -> None:
        self._events = events
        self._lost = lost
        self._queue: deque[_Waiting] = deque()
        self._filled = asyncio.Event()
        self._failing = False
        self._fault = FaultLog(log, "mail_events_not_written")

    async def write(self, event: MailEvent) -> None:
        """Write an event, and wait for it a moment. Never raises for what the database does."""
        if len(self._queue) >= MOST_WAITING:
            self._lost(1)
            return
        waiting = _Waiting(event, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._filled.set()
        if not self._failing:
            await asyncio.wait([waiting.written], timeout=_WAIT_SECONDS)

    async def run(self, stopping: asyncio.Event) -> None:
        """Write what comes, until told to stop; then write the rest, once."""
        ended = asyncio.ensure_future(stopping.wait())
        try:
            while not stopping.is_set():
                filled = asyncio.ensure_future(self._filled.wait())
                await asyncio.wait((filled, ended), return_when=asyncio.FIRST_COMPLETED)
                filled.cancel()
                self._filled.clear()
                if not await self._write_all():
                    self._filled.set()
                    await asyncio.wait((ended,), timeout=_RETRY_SECONDS)
        finally:
            ended.cancel()
        if not await self._write_all():
            log.warning("mail_events_lost", events=len(self._queue))
            self._lost(len(self._queue))

    async def _write_all(self) -> bool:
        """Write everything that waits; whether it went well."""
        while self._queue:
            batch = [self._queue[index] for index in range(min(len(self._queue), _AT_ONCE))]
            try:
                await self._events.record([one.event for one in batch])
            except Unavailable as error:
                self._failing = True
                self._fault.failed(str(error))
                return False
            self._failing = False
            self._fault.over()
            for one in batch:
                self._queue.popleft()
                if not one.written.done():
                    one.written.set_result(None)
        return True


class MailEventJudge:
    """Decides who did it, and publishes the touchpoints. A component; several processes share the work.

    Args:
        observe: is told of each touchpoint.
    """

    name = "mail-event-judge"

    def __init__(
        self, events: MailEventLog, observe: Callable[[MailEvent, bool], None] = lambda event, machine: None
    ) -> None:
        self._events = events
        self._observe = observe
        self._fault = FaultLog(log, "mail_events_not_judged")

    async def run(self, stopping: asyncio.Event) -> None:
        """Judge what has settled, until told to stop."""
        while not stopping.is_set():
            try:
                more = await self.judge(datetime.now(UTC))
                self._fault.over()
            except Unavailable as error:
                more = False
                self._fault.failed(str(error))
            if not more:
                try:
                    async with asyncio.timeout(_JUDGE_EVERY_SECONDS):
                        await stopping.wait()
                except TimeoutError:
                    continue

    async def judge(self, now: datetime) -> bool:
        """Judge once; whether there may be more.

        Raises:
            Unavailable: the database does not answer.
        """
        judged = await self._events.judge(now, _JUDGED_AT_ONCE)
        for event, machine in judged:
            self._observe(event, machine)
        return len(judged) == _JUDGED_AT_ONCE


class TrackedMails:
    """Implements :class:`~touchline_notifier.application.api_ports.MailLinks`."""

    def __init__(self, tokens: MailTokens, events: MailEventLog, writer: MailEventWriter) -> None:
        self._tokens = tokens
        self._events = events
        self._writer = writer

    async def opened(self, token: str, now: datetime, *, machine: bool, recorded: bool = True) -> None:
        """A pixel was asked for. What is no token of a pixel changes nothing."""
        try:
            found = await self._read(token)
        except Unavailable:
            return
        if isinstance(found, OpenedMail) and recorded:
            await self._writer.write(MailEvent(found.action_id, "opened", now, machine))

    async def clicked(self, token: str, now: datetime, *, machine: bool, recorded: bool = True) -> str | None:
        """A link was followed: where it leads; None when it is no link of ours.

        Raises:
            Unavailable: the token is of a key that this process does not know, and the database does not answer.
        """
        found = await self._read(token)
        if not isinstance(found, MailLink):
            return None
        if recorded:
            event = MailEvent(found.action_id, "clicked", now, machine, found.number, found.name, found.target)
            await self._writer.write(event)
        return found.target

    async def _read(self, token: str) -> MailToken | None:
        try:
            return self._tokens.read(token)
        except BadTokenError:
            # Another process may have begun to make links under a new secret.
            self._tokens.add_keys(await self._events.link_keys())
        try:
            return self._tokens.read(token)
        except BadTokenError:
            return None
