"""One worker's membership in the consumer group, and the records of each partition that is assigned to it.

Positions are stored in the database: after every assignment an owner seeks to the position of its lease. The offsets
committed to Kafka are only for lag displays.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import structlog
from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import (
    ConsumerStoppedError,
    IllegalStateError,
    KafkaError,
    OffsetOutOfRangeError,
)
from touchline_runtime.kafka import clients as kafka
from touchline_runtime.kafka.background_tasks import Consumer
from touchline_runtime.kafka.faults import check_assignment
from touchline_runtime.kafka.shutdown import stop_client

from touchline_stage_engine.adapters.kafka.faults import kafka_fault
from touchline_stage_engine.adapters.kafka.topics import Inputs
from touchline_stage_engine.application.errors import PermanentFaultError
from touchline_stage_engine.application.ports import Assigned
from touchline_stage_engine.application.values import Records
from touchline_stage_engine.settings import StageEngineSettings

log = structlog.get_logger(__name__)

_TICK = 0.25
_COMMIT_EVERY = 2.0
_COMMIT_AGAIN = 30.0
"""Seconds until a refused commit is retried: it is only for lag displays."""


@dataclass
class Ends:
    """The ends of the input topics, fetched after the clock was read."""

    clock: int = 0
    fetched_at: float = 0.0
    offsets: dict[TopicPartition, int] = field(default_factory=dict)
    written: dict[TopicPartition, int] = field(default_factory=dict)
    """Of the identity topic: the ends including open transactions, which may hide records committed after them."""


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """Passes assignments on by partition, and exceptions of the callbacks too: aiokafka would swallow them."""

    def __init__(
        self, inputs: Inputs, on_assigned: Assigned, on_revoked: Assigned, on_failed: Callable[[Exception], None]
    ) -> None:
        self._topics = (inputs.touchpoints, inputs.identity)
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._on_failed = on_failed

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self._call(self._on_revoked, revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        try:
            check_assignment(assigned, self._topics)
        except KafkaError as error:
            self._on_failed(kafka_fault(error, "partitions can't be read"))
            return
        await self._call(self._on_assigned, assigned)

    async def _call(self, then: Assigned, topic_partitions: Iterable[TopicPartition]) -> None:
        try:
            await then({topic_partition.partition for topic_partition in topic_partitions})
        except Exception as error:
            log.exception("rebalance_failed")
            self._on_failed(error)


class KafkaTouchpointConsumer:
    """Implements `ports.TouchpointConsumer`: one consumer, shared by the owners of its partitions."""

    def __init__(self, settings: StageEngineSettings, inputs: Inputs, worker: str) -> None:
        self._settings = settings
        self._inputs = inputs
        self._worker = worker
        self._consumer: Consumer | None = None
        self._written: Consumer | None = None
        self._ends = Ends()
        self._done: dict[TopicPartition, int] = {}
        self._polled: dict[TopicPartition, int] = {}
        """The offset after the last record that was returned."""
        self._on_failed: Callable[[Exception], None] | None = None

    @property
    def consumer(self) -> Consumer:
        """aiokafka's consumer, once started."""
        assert self._consumer is not None, "start first"
        return self._consumer

    async def start(self, on_assigned: Assigned, on_revoked: Assigned, on_failed: Callable[[Exception], None]) -> None:
        """Join the group. ``on_failed`` is called when an assignment could not be taken or given up, and by `watch`.

        Raises:
            Unavailable: no broker answers.
        """
        # Range: partition p of both topics is assigned to the same worker. A static member resumes its partitions
        # after a restart without a rebalance. Fetches wait briefly: a partition that was just read is not fetched again
        # before the fetch for the others has returned.
        self._consumer = kafka.consumer(
            self._settings,
            self._worker,
            group_id=f"{self._settings.topic_prefix}.stage-engine",
            group_instance_id=self._worker,
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=6000,
            heartbeat_interval_ms=1500,
            rebalance_timeout_ms=20_000,
            max_poll_interval_ms=600_000,
            max_partition_fetch_bytes=10 * 1024 * 1024,
            fetch_max_wait_ms=40,
        )
        await kafka.start_when_reachable(self._consumer, self._settings)
        self._written = kafka.consumer(
            self._settings, f"{self._worker}-ends", group_id=None, isolation_level="read_uncommitted"
        )
        await kafka.start_when_reachable(self._written, self._settings)
        self._on_failed = on_failed
        self._consumer.subscribe(
            [self._inputs.touchpoints, self._inputs.identity],
            listener=_Listener(self._inputs, on_assigned, on_revoked, on_failed),
        )

    async def stop(self) -> None:
        """Leave the group; a static member's partitions stay assigned to it until its session times out."""
        if self._consumer is not None:
            consumer, self._ends = self._consumer, Ends()
            await self._commit()
            self._done = {}
            self._consumer = None
            await stop_client(consumer.stop(), 3, "consumer")
        if self._written is not None:
            written, self._written = self._written, None
            await stop_client(written.stop(), 3, "consumer-ends")

    @property
    def _columns(self) -> str:
        """Where positions are kept, for people."""
        return f"next_offset ({self._inputs.touchpoints}) or identity_offset ({self._inputs.identity})"

    def _pair(self, partition: int) -> tuple[TopicPartition, TopicPartition]:
        return (
            TopicPartition(self._inputs.touchpoints, partition),
            TopicPartition(self._inputs.identity, partition),
        )

    def hold(self, partitions: Iterable[int]) -> None:
        """Fetch nothing of these partitions until `begin`."""
        for partition in partitions:
            self.consumer.pause(*self._pair(partition))

    async def begin(self, partition: int, touchpoints: int, identity: int) -> None:
        """Read a partition from these positions on; at the very beginning, from the first record there is.

        Raises:
            KafkaAwayError: no broker answers, or the partition is no longer assigned.
        """
        pair = self._pair(partition)
        try:
            starts = {} if touchpoints and identity else await self.consumer.beginning_offsets(pair)
            for topic_partition, position in zip(pair, (touchpoints, identity), strict=True):
                at = position or starts[topic_partition]
                self.consumer.seek(topic_partition, at)
                # A predecessor may have been killed after its last batch and before it committed the offset; commit it
                # even if nothing more comes.
                self._done[topic_partition] = self._polled[topic_partition] = at
            self.consumer.resume(*pair)
        except (KafkaError, IllegalStateError, OSError) as error:
            raise kafka_fault(error, f"partition {partition} can't be read") from error

    async def poll(self, partition: int, limit: int, seconds: float, stop: asyncio.Event) -> Records | None:
        """The next records of a partition; None when nothing came in time, or when told to stop.

        Raises:
            KafkaAwayError: no broker answers.
            PermanentFaultError: Kafka refuses to go on from the position, or a record can't be read.
        """
        pair = self._pair(partition)
        fetching = asyncio.ensure_future(
            self.consumer.getmany(*pair, timeout_ms=int(seconds * 1000), max_records=limit)
        )
        stopping = asyncio.ensure_future(stop.wait())
        try:
            # During a rebalance getmany waits for its end, and the rebalance for this owner: so stop takes precedence.
            await asyncio.wait({fetching, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not fetching.done():
                return None
            found = fetching.result()
        except OffsetOutOfRangeError as error:
            raise PermanentFaultError(
                f"the position of partition {partition} is not on the topic any more ({error}): records were deleted "
                "before they were read, or the topic was cut; nothing is skipped silently: restore the topic, or set "
                f"{self._columns} in the table partitions to go on without them"
            ) from error
        except (KafkaError, IllegalStateError, ConsumerStoppedError, OSError) as error:
            raise kafka_fault(error, f"partition {partition} can't be read") from error
        except Exception as error:
            # Not one of Kafka's errors: what was fetched cannot be unpacked, and fetching it again will not help.
            at = " or ".join(f"{one.topic} at or after offset {self._position(one)}" for one in pair)
            raise PermanentFaultError(
                f"a record of partition {partition} can't be unpacked ({error!r}), of {at}: report it; to go on "
                f"without it, set {self._columns} in the table partitions to the first offset after its record batch "
                "(kafka-dump-log.sh lists batches), and send the batch's other records again"
            ) from error
        finally:
            stopping.cancel()
            if not fetching.done():
                fetching.cancel()
        if not found:
            return None
        for topic_partition, records in found.items():
            self._polled[topic_partition] = records[-1].offset + 1
        return Records(found.get(pair[0], []), found.get(pair[1], []))

    def done(self, partition: int, touchpoints: int, identity: int) -> None:
        """Note how far a partition is folded, for lag displays."""
        self._done |= zip(self._pair(partition), (touchpoints, identity), strict=True)

    def caught_up_at(self, partition: int) -> int | None:
        """The latest clock reading (microseconds) whose end offsets have been read past; None before the first.

        Call it only when everything polled has been folded.
        """
        ends = self._ends
        for topic_partition in self._pair(partition):
            end = ends.offsets.get(topic_partition)
            position = self._position(topic_partition)
            if end is None or position is None or position < end:
                return None
        return ends.clock

    def confirmed_at(self, partition: int) -> float:
        """When Kafka last confirmed, on the monotonic clock, that everything has been read; 0: it has not.

        An empty poll confirms nothing: a broker that does not answer returns nothing either.
        """
        ends = self._ends
        for topic_partition in self._pair(partition):
            end, position = ends.offsets.get(topic_partition), self._position(topic_partition)
            if end is None or position is None or position < end:
                return 0.0
        return ends.fetched_at

    def has_all_messages(self, partition: int) -> bool:
        """Whether the identity topic has been read to its last fetched end, open transactions included."""
        pair = self._pair(partition)[1]
        end, position = self._ends.written.get(pair), self._position(pair)
        return end is not None and position is not None and position >= end

    def _position(self, topic_partition: TopicPartition) -> int | None:
        subscription = self.consumer._subscription.subscription
        assignment = None if subscription is None else subscription.assignment
        if assignment is None or topic_partition not in assignment.tps:
            return None
        state = assignment.state_value(topic_partition)
        return state.position if state.has_valid_position else None

    def lag(self, partition: int) -> int:
        """Records of a partition that are not folded yet, by the last fetched ends."""
        total = 0
        for topic_partition in self._pair(partition):
            end, done = self._ends.offsets.get(topic_partition), self._done.get(topic_partition)
            if end is not None and done is not None:
                # Transaction markers have offsets too: where everything was polled and folded, only they are left.
                position, folded = self._position(topic_partition), done >= self._polled.get(topic_partition, 0)
                total += 0 if folded and position is not None and position >= end else max(0, end - done)
        return total

    async def watch(self, stopping: asyncio.Event, owned: Callable[[], Iterable[int]]) -> None:
        """Fetch the ends of the input topics and commit what has been folded, until stopping.

        An error of the membership itself is passed to ``on_failed``: aiokafka reports such an error again and again
        until the consumer is replaced, even after its cause is gone, and to nobody while no partition is polled.
        """
        commit_at = 0.0
        while not stopping.is_set():
            if (error := self._membership_error()) is not None:
                assert self._on_failed is not None, "start first"
                self._on_failed(error)
                return
            pairs = [pair for partition in owned() for pair in self._pair(partition)]
            try:
                if pairs:
                    async with asyncio.timeout(10):
                        clock = time.time_ns() // 1000
                        self._ends = Ends(clock, time.monotonic(), *await self._fetch_ends(pairs))
                    if time.monotonic() >= commit_at:
                        committed = await self._commit()
                        commit_at = time.monotonic() + (_COMMIT_EVERY if committed else _COMMIT_AGAIN)
            except (KafkaError, IllegalStateError, TimeoutError, OSError) as error:
                log.info("ends_unknown", error=repr(error))
            except Exception:
                # Nothing may end this loop: without it no timer fires and no lag is exported.
                log.exception("watch_failed")
            try:
                async with asyncio.timeout(_TICK):
                    await stopping.wait()
            except TimeoutError:
                pass

    def _membership_error(self) -> Exception | None:
        """The error, if any, with which aiokafka's group coordinator or a background task has ended."""
        try:
            for consumer in (self._consumer, self._written):
                if consumer is not None:
                    consumer.check()
            if self._consumer is not None:
                self._consumer._coordinator.check_errors()
        except Exception as error:
            return kafka_fault(error, "the consumer group can't be used")
        return None

    async def _fetch_ends(self, pairs: list[TopicPartition]) -> tuple[dict[TopicPartition, int], ...]:
        assert self._written is not None, "start first"
        messages = [pair for pair in pairs if pair.topic == self._inputs.identity]
        return tuple(await asyncio.gather(self.consumer.end_offsets(pairs), self._written.end_offsets(messages)))

    async def _commit(self) -> bool:
        """Commit to the group how far everything is folded; whether that worked."""
        assigned = self.consumer.assignment()
        offsets = {pair: offset for pair, offset in self._done.items() if pair in assigned}
        if not offsets:
            return True
        try:
            async with asyncio.timeout(2):
                await self.consumer.commit(offsets)
        except (KafkaError, IllegalStateError, TimeoutError, OSError) as error:
            log.info("offsets_not_committed", error=repr(error))
            return False
        return True
