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
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError
from touchline_runtime import database, kafka
from touchline_runtime.database import UNREACHABLE
from touchline_runtime.errors import Unavailable
from touchline_schemas.topics import STAGE_CHANGES, TOUCHPOINTS

from touchline_notifier.adapters import decision_sql as sql
from touchline_notifier.adapters.decisions import Desk, Tally
from touchline_notifier.adapters.ownership import NotTheOwnerError, claim, relay_name
from touchline_notifier.adapters.partition import HeldFacts, Partition, Work
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
            except _TRY_AGAIN as error:
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
        self._consumer = self._build_consumer(worker)
        self._partitions: dict[int, Partition] = {}
        self._relays: dict[int, Relay] = {}
        # A revoked partition is let go between two transactions, never within one.
        self._turn = asyncio.Lock()
        self._publishing = asyncio.Lock()
        self._claims = 0
        self._failure: Exception | None = None
        self._written = asyncio.Event()

    def _build_consumer(self, worker: str | None) -> AIOKafkaConsumer:
        arguments: dict[str, Any] = {
            # Between the assignment and our seek, and when retention cuts a topic under us: nothing is passed over.
            "auto_offset_reset": "earliest",
            "group_id": f"{self._settings.topic_prefix}.notifier",
            # Both topics' partition n to the same process.
            "partition_assignment_strategy": (RangePartitionAssignor,),
            "session_timeout_ms": 6000,
            "heartbeat_interval_ms": 1500,
            "rebalance_timeout_ms": 30000,
            "max_poll_interval_ms": 300000,
        }
        if worker is not None:
            arguments["group_instance_id"] = worker
        return kafka.consumer(self._settings, f"{self._settings.topic_prefix}-notifier", **arguments)

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
            with contextlib.suppress(KafkaError, TimeoutError):
                await asyncio.wait_for(self._consumer.stop(), 10)

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
            self._consumer.seek(where, await self._reachable(where, position))

    async def _reachable(self, where: TopicPartition, position: int) -> int:
        """The position, or the nearest that exists: retention may have cut the topic, or it was made anew."""
        beginning = (await self._consumer.beginning_offsets([where]))[where]
        end = (await self._consumer.end_offsets([where]))[where]
        reachable = min(max(position, beginning), max(end, beginning))
        if position > end:
            # Somebody deleted the topic. What is in the new one was never read; seen facts are known by their ids.
            reachable = beginning
        if reachable != position and position:
            log.warning("position_moved", topic=where.topic, partition=where.partition, was=position, now=reachable)
        return int(reachable)

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
            decided = False
            for partition in list(self._partitions.values()):
                number = partition.owned.partition
                while partition.held and await self._stands(self._touchpoints, number) >= partition.held[0].barrier:
                    await self._decide(partition, partition.held[0])
                    partition.held.popleft()
                    decided = True
            self._pause_or_resume()
        if decided:
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

    async def _hold_facts(self, fetched: dict[TopicPartition, list[Any]]) -> None:
        """Facts wait until touchpoints have been read up to where they end now, after the facts were read."""
        came = {where.partition: records for where, records in fetched.items() if where.topic == self._facts}
        came = {number: records for number, records in came.items() if number in self._partitions and records}
        if not came:
            return
        ends = await self._consumer.end_offsets([TopicPartition(self._touchpoints, number) for number in came])
        for number, records in came.items():
            barrier = ends[TopicPartition(self._touchpoints, number)]
            self._partitions[number].held.append(HeldFacts(records, barrier))

    async def _decide(self, partition: Partition, held: HeldFacts) -> None:
        started = asyncio.get_running_loop().time()
        tally = await self._work.facts(partition, held)
        self._observer.decided(len(held.records), tally, asyncio.get_running_loop().time() - started)

    def _pause_or_resume(self) -> None:
        for number, partition in self._partitions.items():
            where = TopicPartition(self._facts, number)
            if partition.held_records > _HELD_AT_MOST:
                self._consumer.pause(where)
            elif not partition.held:
                self._consumer.resume(where)

    async def _tick(self, stopping: asyncio.Event) -> None:
        """Waiting actions whose time has come; committed offsets and lag, for displays."""
        since_commit = 0.0
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), _TICK_SECONDS)
            since_commit += _TICK_SECONDS
            async with self._turn:
                await self._decide_due()
                if since_commit >= _COMMIT_SECONDS:
                    since_commit = 0.0
                    await self._show_progress()

    async def _decide_due(self) -> None:
        numbers = list(self._partitions)
        if not numbers:
            return
        now = self._work.clock()
        rows = await self._work.connection.fetch(sql.DUE_PARTITIONS, numbers, now)
        for row in rows:
            partition = self._partitions[row["partition"]]
            if not await self._caught_up(partition):
                continue
            partition.due_barrier = None
            started = asyncio.get_running_loop().time()
            tally = await self._work.due(partition)
            self._observer.decided(0, tally, asyncio.get_running_loop().time() - started)
            self._written.set()

    async def _caught_up(self, partition: Partition) -> bool:
        """Whether both topics were read up to where they ended when the actions were first found due."""
        number = partition.owned.partition
        topics = [TopicPartition(topic, number) for topic in (self._touchpoints, self._facts)]
        if partition.due_barrier is None:
            ends = await self._consumer.end_offsets(topics)
            partition.due_barrier = (ends[topics[0]], ends[topics[1]])
        stands = [await self._stands(where.topic, number) for where in topics]
        return not partition.held and all(at >= end for at, end in zip(stands, partition.due_barrier, strict=True))

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
