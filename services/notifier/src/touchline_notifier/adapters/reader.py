"""The reader: consumes touchpoints and facts of the partitions this process owns, and publishes its outboxes.

A session is one consumer and its database connections. Whatever goes wrong with Kafka or PostgreSQL ends the session;
a new one starts from the positions in the database, so nothing is lost and nothing happens twice.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Protocol

import asyncpg
import structlog
from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError
from touchline_runtime import database, kafka
from touchline_runtime.closing import cancelled_by_us, let_go
from touchline_runtime.database import UNREACHABLE
from touchline_runtime.errors import Unavailable
from touchline_schemas.topics import STAGE_CHANGES, TOUCHPOINTS

from touchline_notifier.adapters import decision_sql as sql
from touchline_notifier.adapters.barriers import Barriers
from touchline_notifier.adapters.consuming import build_consumer, reachable
from touchline_notifier.adapters.decisions import Desk, Tally
from touchline_notifier.adapters.ownership import NotTheOwnerError, claim, relay_name
from touchline_notifier.adapters.partition import HeldFacts, Partition, Work
from touchline_notifier.adapters.records import read_told
from touchline_notifier.adapters.relay import FILLED, Relay
from touchline_notifier.settings import NotifierSettings

log = structlog.get_logger(__name__)

_POLL_MS = 100
_RECORDS_AT_ONCE = 5000
_HELD_AT_MOST = 5000
_TICK_SECONDS = 0.5
_COMMIT_SECONDS = 5.0
_TRY_AGAIN_SECONDS = 1.0
_TRY_AGAIN = (*UNREACHABLE, Unavailable, KafkaError, asyncpg.PostgresError, NotTheOwnerError)


class Observer(Protocol):
    """Told of what the reader does, for metrics."""

    def touchpoints(self, count: int, seconds: float) -> None:
        """Touchpoints were folded into profiles."""

    def decided(self, facts: int, tally: Tally, seconds: float) -> None:
        """Facts were decided on, or (facts: 0) waiting actions."""

    def published(self, count: int) -> None:
        """Records were published."""

    def owned(self, count: int) -> None:
        """So many partitions are owned now."""

    def lag(self, topic: str, records: int) -> None:
        """So many records are unread."""

    def session(self) -> None:
        """A session starts."""


class Reader:
    """Runs sessions until told to stop. A component of the notifier's process."""

    name = "reader"

    def __init__(
        self,
        settings: NotifierSettings,
        desk: Desk,
        observer: Observer,
        *,
        stream: str,
        worker: str | None,
        sending: bool,
        wake_delivery: Callable[[], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._desk = desk
        self._observer = observer
        self._stream = stream
        self._worker = worker
        self._sending = sending
        self._wake_delivery = wake_delivery
        self._clock = clock
        self.working = False

    async def check(self) -> None:
        """A health check: a session is under way.

        Raises:
            Unavailable: none is.
        """
        if not self.working:
            raise Unavailable(
                "no session with Kafka and PostgreSQL: one of them is away, or the group is still forming"
            )

    async def run(self, stopping: asyncio.Event) -> None:
        """Read and decide."""
        while not stopping.is_set():
            self._observer.session()
            try:
                await self._session(stopping)
            except (*_TRY_AGAIN, asyncio.CancelledError) as error:
                if cancelled_by_us():
                    raise
                log.warning("session_ended", error=f"{type(error).__name__}: {error}")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), _TRY_AGAIN_SECONDS)
            finally:
                self.working = False
                self._observer.owned(0)

    async def _session(self, stopping: asyncio.Event) -> None:
        connection = await self._connect("touchline-notifier-reader")
        try:
            relaying = await self._connect(relay_name(connection.get_server_pid()))
            try:
                work = Work(connection, self._desk, self._sending, self._clock)
                session = Session(self._settings, work, relaying, self._observer, self._stream, self._worker)
                await session.run(stopping, self._wake_delivery, self._set_working)
            finally:
                relaying.terminate()
        finally:
            connection.terminate()

    async def _connect(self, name: str) -> asyncpg.Connection:
        return await database.connect(self._settings, application_name=name, search_path=self._settings.search_path)

    def _set_working(self) -> None:
        self.working = True


class Session(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """One consumer, from joining the group to leaving it."""

    def __init__(
        self,
        settings: NotifierSettings,
        work: Work,
        relaying: asyncpg.Connection,
        observer: Observer,
        stream: str,
        worker: str | None,
    ) -> None:
        self._settings = settings
        self._work = work
        self._relaying = relaying
        self._observer = observer
        self._stream = stream
        self._touchpoints = TOUCHPOINTS.full_name(settings.topic_prefix)
        self._facts = STAGE_CHANGES.full_name(settings.topic_prefix)
        self._consumer = build_consumer(settings, worker)
        self._partitions: dict[int, Partition] = {}
        self._relays: dict[int, Relay] = {}
        # A revoked partition is let go between two transactions, never within one.
        self._turn = asyncio.Lock()
        self._publishing = asyncio.Lock()
        self._claims = 0
        self._failure: Exception | None = None
        self._written = asyncio.Event()
        self._look_again = 0.0
        self._barriers = Barriers(
            self._consumer,
            work.connection,
            stream=stream,
            topic=self._touchpoints,
            partitions=settings.partitions,
            everywhere=work.desk.writes_to_customers,
        )

    async def run(self, stopping: asyncio.Event, wake_delivery: Callable[[], None], joined: Callable[[], None]) -> None:
        """Work until told to stop."""
        self._consumer.subscribe([self._touchpoints, self._facts], listener=self)
        await kafka.start_patiently(self._consumer, self._settings)
        try:
            async with asyncio.TaskGroup() as group:
                relaying = group.create_task(self._publish(stopping), name="relay")
                ticking = group.create_task(self._tick(stopping), name="tick")
                joined()
                while not stopping.is_set():
                    await self._once(wake_delivery)
                self._written.set()
                await asyncio.wait({relaying, ticking}, timeout=5)
                relaying.cancel()
                ticking.cancel()
        except BaseExceptionGroup as errors:
            raise _first(errors) from None
        finally:
            await _close(self._relays.values())
            await let_go(self._consumer.stop(), 10, "consumer")

    # Partitions come and go.

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Let all partitions go (aiokafka revokes all of them before each new assignment)."""
        async with self._turn:
            self._partitions.clear()
            relays, self._relays = self._relays, {}
            self._observer.owned(0)
        async with self._publishing:
            await _close(relays.values())

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Claim what was assigned, and read on where the database says."""
        try:
            async with self._turn:
                await self._claim(sorted(one.partition for one in assigned if one.topic == self._facts))
        except Exception as error:
            # aiokafka swallows what a listener raises; the session's loop raises it.
            self._failure = error

    async def _claim(self, numbers: list[int]) -> None:
        for number in numbers:
            owned = await claim(self._work.connection, self._stream, number)
            partition = Partition(owned)
            await self._seek(partition)
            self._partitions[number] = partition
            self._relays[number] = Relay(self._settings, self._relaying, owned)
        self._claims += 1
        plays = list(self._work.desk.decider.plays)
        await self._work.connection.execute(sql.PLAYS_GONE, numbers, plays, self._work.clock())
        self._observer.owned(len(self._partitions))
        self._written.set()
        log.info("partitions_claimed", partitions=numbers)

    async def _seek(self, partition: Partition) -> None:
        owned = partition.owned
        for topic, position in ((self._touchpoints, owned.next_touchpoint), (self._facts, owned.next_fact)):
            where = TopicPartition(topic, owned.partition)
            self._consumer.seek(where, await reachable(self._consumer, where, position))

    # The work.

    async def _once(self, wake_delivery: Callable[[], None]) -> None:
        if self._failure is not None:
            raise self._failure
        claims = self._claims
        fetched = await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=_RECORDS_AT_ONCE)
        async with self._turn:
            if self._claims != claims:
                # Fetched before the seek of a claim, perhaps: read it again from where the database says.
                for partition in self._partitions.values():
                    partition.held.clear()
                    await self._seek(partition)
                return
            await self._take_touchpoints(fetched)
            await self._hold_facts(fetched)
            decided = [await self._decide(partition) for partition in list(self._partitions.values())]
            # Only here has everything fetched been taken, so that the consumer's position is ours.
            decided.append(await self._decide_due())
            self._pause_or_resume()
        if any(decided):
            wake_delivery()
            self._written.set()

    async def _stands(self, topic: str, number: int) -> int:
        """Where the consumer stands, which is past the marks of transactions too, where the last record isn't."""
        return int(await self._consumer.position(TopicPartition(topic, number)))

    async def _take_touchpoints(self, fetched: dict[TopicPartition, list[Any]]) -> None:
        for where, records in fetched.items():
            partition = self._partitions.get(where.partition)
            if where.topic != self._touchpoints or partition is None or not records:
                continue
            started = asyncio.get_running_loop().time()
            await self._work.touchpoints(partition, records, records[-1].offset + 1)
            self._observer.touchpoints(len(records), asyncio.get_running_loop().time() - started)
        for number, partition in self._partitions.items():
            # Other processes wait for it: marks of transactions count, too.
            position = await self._stands(self._touchpoints, number)
            if position > partition.owned.next_touchpoint:
                await self._work.stand(partition, position)

    async def _hold_facts(self, fetched: dict[TopicPartition, list[Any]]) -> None:
        """Facts wait until touchpoints have been read up to where they end now, after the facts were read."""
        came = {where.partition: records for where, records in fetched.items() if where.topic == self._facts}
        came = {number: records for number, records in came.items() if number in self._partitions and records}
        if not came:
            return
        barriers = await self._barriers.put_up(came)
        now = asyncio.get_running_loop().time()
        for number, records in came.items():
            held = HeldFacts(read_told(records), len(records), records[-1].offset + 1, barriers[number], now)
            self._partitions[number].held.append(held)

    async def _decide(self, partition: Partition) -> bool:
        """Decide the facts that need wait no longer, all of them in one transaction."""
        started = asyncio.get_running_loop().time()
        if partition.lingers(started):
            return False
        ready: list[HeldFacts] = []
        while partition.held and await self._barriers.reached(partition.held[0].barrier, self._partitions):
            ready.append(partition.held.popleft())
        if not ready:
            return False
        tally = await self._work.facts(partition, ready)
        records = sum(facts.records for facts in ready)
        self._observer.decided(records, tally, asyncio.get_running_loop().time() - started)
        return True

    def _pause_or_resume(self) -> None:
        for number, partition in self._partitions.items():
            where = TopicPartition(self._facts, number)
            if partition.held_records > _HELD_AT_MOST:
                self._consumer.pause(where)
            elif not partition.held:
                self._consumer.resume(where)

    async def _decide_due(self) -> bool:
        """Decide waiting actions whose time has come, looking for some twice a second."""
        loop = asyncio.get_running_loop()
        numbers = list(self._partitions)
        if not numbers or loop.time() < self._look_again:
            return False
        self._look_again = loop.time() + _TICK_SECONDS
        decided = False
        for row in await self._work.connection.fetch(sql.DUE_PARTITIONS, numbers, self._work.clock()):
            partition = self._partitions[row["partition"]]
            if not await self._caught_up(partition):
                continue
            partition.due_barrier = None
            started = loop.time()
            tally = await self._work.due(partition)
            self._observer.decided(0, tally, loop.time() - started)
            decided = True
        return decided

    async def _caught_up(self, partition: Partition) -> bool:
        """Whether both topics were read up to where they ended when the actions were first found due."""
        number = partition.owned.partition
        facts = TopicPartition(self._facts, number)
        if partition.due_barrier is None:
            barriers = await self._barriers.put_up([number])
            partition.due_barrier = (barriers[number], (await self._consumer.end_offsets([facts]))[facts])
        touchpoints, end = partition.due_barrier
        return (
            not partition.held
            and await self._stands(self._facts, number) >= end
            and await self._barriers.reached(touchpoints, self._partitions)
        )

    async def _tick(self, stopping: asyncio.Event) -> None:
        """Committed offsets and lag, for displays."""
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), _COMMIT_SECONDS)
            async with self._turn:
                await self._show_progress()

    async def _show_progress(self) -> None:
        offsets: dict[TopicPartition, int] = {}
        for number, partition in self._partitions.items():
            offsets[TopicPartition(self._touchpoints, number)] = await self._stands(self._touchpoints, number)
            facts = partition.owned.next_fact if partition.held else await self._stands(self._facts, number)
            offsets[TopicPartition(self._facts, number)] = facts
        if not offsets:
            return
        with contextlib.suppress(KafkaError, TimeoutError):
            # For displays alone: what counts is in the database.
            await asyncio.wait_for(self._consumer.commit(offsets), 2)
        ends = await self._consumer.end_offsets(list(offsets))
        for topic in (self._touchpoints, self._facts):
            unread = sum(max(ends[where] - at, 0) for where, at in offsets.items() if where.topic == topic)
            self._observer.lag(topic, unread)

    async def _publish(self, stopping: asyncio.Event) -> None:
        """Publish what transactions wrote: soon after each, and what delivery workers wrote at each tick."""
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._written.wait(), _TICK_SECONDS)
            self._written.clear()
            await self._publish_all()
        await self._publish_all()

    async def _publish_all(self) -> None:
        numbers = list(self._relays)
        rows = await self._relaying.fetch(FILLED, numbers) if numbers else []
        for row in rows:
            async with self._publishing:
                relay = self._relays.get(row["partition"])
                if relay is not None:
                    self._observer.published(await relay.publish())


async def _close(relays: Iterable[Relay]) -> None:
    await asyncio.gather(*(relay.close() for relay in relays))


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
