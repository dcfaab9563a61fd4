"""A session: one consumer from joining the group to leaving it. Reads touchpoints and facts of the partitions that this
process owns, decides, and publishes their outboxes.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import structlog
from touchline_runtime.kafka.shutdown import unless_stopping

from touchline_notifier.application.deciding.decide import DecisionCounts
from touchline_notifier.application.deciding.partition import Partition, PartitionProcessor, WaitingFacts
from touchline_notifier.application.deciding.read_positions import TouchpointPositions
from touchline_notifier.application.deciding.read_through import ReadThrough
from touchline_notifier.application.deciding.records import read_events
from touchline_notifier.application.plays.live import DecidingPlays
from touchline_notifier.application.session_ports import OutboxPublisher, Record, SessionResources, Topic

log = structlog.get_logger(__name__)

_RECORDS_AT_ONCE = 5000
_MAX_HELD = 5000
_TICK_SECONDS = 0.5
_COMMIT_SECONDS = 5.0
_TURN_SECONDS = 1.0
_KAFKA_ANSWER_SECONDS = 12.0
"""Kafka is asked for the topics' ends every five seconds. An answer older than this is no progress."""


class Observer(Protocol):
    """Receives what the reader does, for metrics."""

    def touchpoints(self, count: int, seconds: float) -> None:
        """Touchpoints were folded into profiles."""

    def decided(self, facts: int, counts: DecisionCounts, seconds: float) -> None:
        """Facts were decided on, or (facts: 0) waiting actions."""

    def published(self, count: int) -> None:
        """Records were published."""

    def owned(self, partitions: Collection[int]) -> None:
        """These partitions are owned now."""

    def lag(self, topic: str, records: int) -> None:
        """So many records are unread."""

    def session(self) -> None:
        """A session starts."""


class PartitionSession:
    """Listens to the consumer's assignments, and works on the partitions."""

    def __init__(
        self,
        resources: SessionResources,
        processor: PartitionProcessor,
        observer: Observer,
        plays: DecidingPlays,
    ) -> None:
        self._plays = plays
        self._store = resources.store
        self._consumer = resources.consumer
        self._publisher = resources.publisher
        self._processor = processor
        self._observer = observer
        self._partitions: dict[int, Partition] = {}
        self._worked_through: dict[tuple[Topic, int], int] = {}
        self._publishers: dict[int, OutboxPublisher] = {}
        # A revoked partition is given up between two transactions, never within one.
        self._turn = asyncio.Lock()
        self._publishing = asyncio.Lock()
        self._acquisitions = 0
        self._failure: Exception | None = None
        self._written = asyncio.Event()
        self._look_again = 0.0
        self._kafka_answered_at = 0.0
        self._read_through = ReadThrough(self._consumer, self._store, processor.clock)
        self._positions = TouchpointPositions(
            self._consumer,
            self._store,
            partitions=processor.context.partitions,
            everywhere=processor.context.writes_to_customers,
        )

    async def run(
        self, stopping: asyncio.Event, wake_delivery: Callable[[], None], progress: Callable[[], None]
    ) -> None:
        """Work until told to stop."""
        loop = asyncio.get_running_loop()
        try:
            await unless_stopping(self._consumer.start(self), stopping)
            self._kafka_answered_at = loop.time()
            async with asyncio.TaskGroup() as group:
                tasks = {
                    group.create_task(self._publish(stopping), name="outbox-publisher"),
                    group.create_task(self._tick(stopping), name="tick"),
                }
                progress()
                while not stopping.is_set():
                    await self._once(wake_delivery)
                    if loop.time() - self._kafka_answered_at < _KAFKA_ANSWER_SECONDS:
                        progress()
                self._written.set()
                await asyncio.wait(tasks, timeout=5)
                for task in tasks:
                    task.cancel()
        except BaseExceptionGroup as errors:
            raise first_error(errors) from None
        finally:
            await _close(self._publishers.values())
            await self._consumer.stop()

    # Assignment

    async def revoked(self) -> None:
        """Give all partitions up."""
        async with self._turn:
            self._partitions.clear()
            self._worked_through.clear()
            publishers, self._publishers = self._publishers, {}
            self._observer.owned(())
        async with self._publishing:
            await _close(publishers.values())

    async def assigned(self, partitions: Sequence[int]) -> None:
        """Acquire the leases of what was assigned, and read on from the offsets in the database."""
        try:
            async with self._turn:
                await self._acquire(partitions)
        except Exception as error:
            # The consumer swallows what a listener raises; the session's loop raises it.
            self.failed(error)

    def failed(self, error: Exception) -> None:
        """End the session with an error."""
        self._failure = error

    async def _acquire(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            lease = await self._store.acquire(number)
            self._partitions[number] = Partition(lease)
            self._worked_through["touchpoints", number] = lease.next_touchpoint
            self._worked_through["facts", number] = lease.next_fact
            self._publishers[number] = self._publisher(lease)
        await self._consumer.seek([self._partitions[number].lease for number in numbers])
        self._acquisitions += 1
        # After the acquisition: nothing is decided by older plays than the former owner's.
        await self._take_up_plays()
        plays = list(self._processor.context.decider.plays)
        await self._store.actions.cancel_removed_plays(numbers, plays, self._processor.clock())
        self._observer.owned(self._partitions)
        self._written.set()
        log.info("partitions_acquired", partitions=list(numbers))

    # Work

    async def _once(self, wake_delivery: Callable[[], None]) -> None:
        if self._failure is not None:
            raise self._failure
        acquisitions = self._acquisitions
        fetched = await self._consumer.fetch(_RECORDS_AT_ONCE)
        async with self._turn:
            if self._acquisitions != acquisitions:
                # The records may have been fetched before a seek: read them again from the offsets in the database.
                for partition in self._partitions.values():
                    partition.held.clear()
                await self._consumer.seek([partition.lease for partition in self._partitions.values()])
                return
            await self._fold_touchpoints(fetched.touchpoints)
            await self._hold_facts(fetched.facts)
            await self._take_up_plays()
            decided = [await self._decide(partition) for partition in list(self._partitions.values())]
            # From here on everything fetched has been worked on, so that the consumer's position is ours.
            decided.append(await self._decide_due())
            self._pause_or_resume()
            await self._read_through.note(self._partitions, asyncio.get_running_loop().time())
        if any(decided):
            wake_delivery()
            self._written.set()

    async def _take_up_plays(self) -> None:
        """Decide by the plays as they are now, until the next call."""
        if not self._partitions:
            return
        context = await self._plays.as_of(self._store.plays)
        if context is self._processor.context:
            return
        self._processor = replace(self._processor, context=context)
        if context.writes_to_customers and not self._positions.everywhere:
            # The first play that writes to customers: what waits has to wait for all partitions from now on.
            self._positions.everywhere = True
            ends = await self._positions.ends(self._partitions)
            for number, partition in self._partitions.items():
                partition.held = deque(replace(facts, wait_for=ends[number]) for facts in partition.held)
                partition.due_wait_for = None
        self._positions.everywhere = context.writes_to_customers

    async def _fold_touchpoints(self, fetched: Mapping[int, Sequence[Record]]) -> None:
        loop = asyncio.get_running_loop()
        for number, records in fetched.items():
            partition = self._partitions.get(number)
            if partition is None or not records:
                continue
            started = loop.time()
            await self._processor.touchpoints(partition, records, records[-1].offset + 1)
            self._observer.touchpoints(len(records), loop.time() - started)
        for number, partition in self._partitions.items():
            # Other processes wait for this position, so transaction markers count too.
            position = await self._consumer.position("touchpoints", number)
            if position > partition.lease.next_touchpoint:
                await self._processor.advance(partition, position)

    async def _hold_facts(self, fetched: Mapping[int, Sequence[Record]]) -> None:
        """Hold facts until touchpoints have been read up to where they end now, after the facts were read."""
        fetched = {number: records for number, records in fetched.items() if number in self._partitions and records}
        if not fetched:
            return
        ends = await self._positions.ends(fetched)
        now = asyncio.get_running_loop().time()
        for number, records in fetched.items():
            batch = read_events(records)
            held = WaitingFacts(batch, len(records), records[-1].offset + 1, ends[number], now, records)
            self._partitions[number].held.append(held)

    async def _decide(self, partition: Partition) -> bool:
        """Decide on the facts that need not wait any longer, all of them in one transaction."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        if partition.should_wait(started):
            return False
        ready: list[WaitingFacts] = []
        while partition.held and await self._positions.reached(partition.held[0].wait_for, self._partitions):
            ready.append(partition.held.popleft())
        if not ready:
            return False
        counts = await self._processor.facts(partition, ready)
        self._observer.decided(sum(facts.records for facts in ready), counts, loop.time() - started)
        return True

    def _pause_or_resume(self) -> None:
        for number, partition in self._partitions.items():
            if partition.held_records > _MAX_HELD:
                self._consumer.pause(number)
            elif not partition.held:
                self._consumer.resume(number)

    async def _decide_due(self) -> bool:
        """Decide waiting actions whose time has come. Looks for some twice a second."""
        loop = asyncio.get_running_loop()
        if not self._partitions or loop.time() < self._look_again:
            return False
        self._look_again = loop.time() + _TICK_SECONDS
        failed = [ident for part in self._partitions.values() for ident in part.failed_actions(loop.time())]
        numbers = await self._store.actions.due_partitions(
            list(self._partitions), self._processor.clock(), sending=self._processor.sending, leave_out=failed
        )
        decided = False
        for partition in (self._partitions[number] for number in numbers):
            if not await self._caught_up(partition):
                continue
            partition.due_wait_for = None
            started = loop.time()
            counts = await self._processor.due(partition, started)
            self._observer.decided(0, counts, loop.time() - started)
            decided = True
        return decided

    async def _caught_up(self, partition: Partition) -> bool:
        """Whether both topics were read up to where they ended when the actions were first found due."""
        number = partition.lease.partition
        if partition.due_wait_for is None:
            touchpoints = (await self._positions.ends([number]))[number]
            partition.due_wait_for = (touchpoints, (await self._consumer.end_offsets("facts", [number]))[number])
        touchpoints, facts = partition.due_wait_for
        return (
            not partition.held
            and await self._consumer.position("facts", number) >= facts
            and await self._positions.reached(touchpoints, self._partitions)
        )

    # Display and publication

    async def _tick(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), _COMMIT_SECONDS)
            if await self._note_positions():
                await self._consumer.commit(dict(self._worked_through))
            await self._measure_lag()

    async def _note_positions(self) -> bool:
        """Note up to where everything has been worked on; whether it could be done.

        While a transaction is under way the notes stay as they are. It may wait for PostgreSQL for long, and the lag
        has to be seen then.
        """
        try:
            async with asyncio.timeout(_TURN_SECONDS):
                await self._turn.acquire()
        except TimeoutError:
            return False
        try:
            for number, partition in self._partitions.items():
                # The consumer's position would be past records that were fetched and are not folded yet.
                self._worked_through["touchpoints", number] = partition.lease.next_touchpoint
                facts = partition.lease.next_fact if partition.held else await self._consumer.position("facts", number)
                self._worked_through["facts", number] = facts
        finally:
            self._turn.release()
        return bool(self._partitions)

    async def _measure_lag(self) -> None:
        """Ask Kafka where the topics end."""
        owned = list(self._partitions)
        for topic, name in self._consumer.topic_names.items():
            if owned:
                ends = await self._consumer.end_offsets(topic, owned)
                # What was revoked meanwhile has no note any more.
                unread = (max(end - self._worked_through.get((topic, number), end), 0) for number, end in ends.items())
                self._observer.lag(name, sum(unread))
        self._kafka_answered_at = asyncio.get_running_loop().time()

    async def _publish(self, stopping: asyncio.Event) -> None:
        """Publish what transactions wrote: soon after each; what delivery workers wrote at each tick."""
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._written.wait(), _TICK_SECONDS)
            self._written.clear()
            await self._publish_all()
        await self._publish_all()

    async def _publish_all(self) -> None:
        for number in await self._store.partitions_to_publish(list(self._publishers)):
            async with self._publishing:
                publisher = self._publishers.get(number)
                if publisher is not None:
                    self._observer.published(await publisher.publish())


async def _close(publishers: Iterable[OutboxPublisher]) -> None:
    await asyncio.gather(*(publisher.close() for publisher in publishers))


def first_error(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error in a group of groups."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
