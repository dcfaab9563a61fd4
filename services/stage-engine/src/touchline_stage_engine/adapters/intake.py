"""The intake: one worker's place in the consumer group, and the records of each partition it is assigned.

Positions are the database's: after every assignment an owner seeks to what its ledger says. The offsets committed to
Kafka are for lag displays alone.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import (
    ConsumerStoppedError,
    IllegalStateError,
    KafkaError,
    OffsetOutOfRangeError,
)
from touchline_runtime import kafka

from touchline_stage_engine.adapters.errors import KafkaAwayError
from touchline_stage_engine.adapters.wiring import Inputs
from touchline_stage_engine.settings import StageEngineSettings

log = structlog.get_logger(__name__)

Assigned = Callable[[set[int]], Awaitable[None]]

_TICK = 0.25
_COMMIT_EVERY = 2.0


class Records(NamedTuple):
    """What a poll brought: records of the touchpoints and of the identity topic, and the positions after them."""

    touchpoints: list[Any]
    identity: list[Any]


@dataclass
class Ends:
    """The ends of the input topics, fetched after the clock was read."""

    clock: int = 0
    offsets: dict[TopicPartition, int] = field(default_factory=dict)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """Hands assignments on by partition. aiokafka swallows a listener's exceptions, so they are logged here."""

    def __init__(self, on_assigned: Assigned, on_revoked: Assigned) -> None:
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self._call(self._on_revoked, revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        await self._call(self._on_assigned, assigned)

    async def _call(self, then: Assigned, topic_partitions: Iterable[TopicPartition]) -> None:
        try:
            await then({topic_partition.partition for topic_partition in topic_partitions})
        except Exception:
            log.exception("rebalance_failed")


class Intake:
    """One consumer, shared by the owners of its partitions."""

    def __init__(self, settings: StageEngineSettings, inputs: Inputs, worker: str) -> None:
        self._settings = settings
        self._inputs = inputs
        self._worker = worker
        self._consumer: AIOKafkaConsumer | None = None
        self._ends = Ends()
        self._done: dict[TopicPartition, int] = {}

    @property
    def consumer(self) -> AIOKafkaConsumer:
        """aiokafka's consumer, once started."""
        assert self._consumer is not None, "start first"
        return self._consumer

    async def start(self, on_assigned: Assigned, on_revoked: Assigned) -> None:
        """Join the group.

        Raises:
            Unavailable: no broker answers.
        """
        # Range: partition p of both topics lands on the same worker. A static member takes its partitions up again
        # after a restart without a rebalance. A short wait in fetches: a partition that was just read is not asked
        # for before the fetch for the others has come back.
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
        await kafka.start_patiently(self._consumer, self._settings)
        self._consumer.subscribe(
            [self._inputs.touchpoints, self._inputs.identity], listener=_Listener(on_assigned, on_revoked)
        )

    async def stop(self) -> None:
        """Leave; a static member's partitions stay assigned to it until its session ends."""
        if self._consumer is not None:
            await self._commit()
            await self._consumer.stop()

    def _pair(self, partition: int) -> tuple[TopicPartition, TopicPartition]:
        return (
            TopicPartition(self._inputs.touchpoints, partition),
            TopicPartition(self._inputs.identity, partition),
        )

    def hold(self, partitions: Iterable[int]) -> None:
        """Fetch nothing of these partitions until their owners have said where to begin."""
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
                # Where a predecessor was killed after its last batch and before it told the group, we tell it: nothing
                # may come that we would tell of.
                self._done[topic_partition] = at
            self.consumer.resume(*pair)
        except (KafkaError, IllegalStateError, OSError) as error:
            raise KafkaAwayError(f"partition {partition} can't be read: {error!r}") from error

    async def poll(self, partition: int, limit: int, seconds: float, stop: asyncio.Event) -> Records | None:
        """The next records of a partition; None when nothing came in time, or when told to stop.

        Raises:
            KafkaAwayError: Kafka refuses to go on from the position.
        """
        pair = self._pair(partition)
        fetching = asyncio.ensure_future(
            self.consumer.getmany(*pair, timeout_ms=int(seconds * 1000), max_records=limit)
        )
        stopping = asyncio.ensure_future(stop.wait())
        try:
            # During a rebalance getmany waits for its end, and the rebalance for us: so stop wins.
            await asyncio.wait({fetching, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not fetching.done():
                return None
            found = fetching.result()
        except OffsetOutOfRangeError as error:
            raise KafkaAwayError(
                f"the position of partition {partition} is not on the topic any more ({error}): records were deleted "
                "before they were read, or the topic was cut; nothing is skipped silently: restore the topic, or set "
                "next_offset in the table partitions to go on without them"
            ) from error
        except (KafkaError, IllegalStateError, ConsumerStoppedError, OSError) as error:
            raise KafkaAwayError(f"partition {partition} can't be read: {error!r}") from error
        finally:
            stopping.cancel()
            if not fetching.done():
                fetching.cancel()
        if not found:
            return None
        return Records(found.get(pair[0], []), found.get(pair[1], []))

    def done(self, partition: int, touchpoints: int, identity: int) -> None:
        """Note for lag displays how far a partition is folded."""
        self._done |= zip(self._pair(partition), (touchpoints, identity), strict=True)

    def caught_up_at(self, partition: int) -> int | None:
        """The latest clock reading whose topics' ends have been read past; None before the first.

        Call it only when everything polled has been folded.
        """
        ends = self._ends
        for topic_partition in self._pair(partition):
            end = ends.offsets.get(topic_partition)
            position = self._position(topic_partition)
            if end is None or position is None or position < end:
                return None
        return ends.clock

    def _position(self, topic_partition: TopicPartition) -> int | None:
        assignment = self.consumer._subscription.subscription.assignment
        if assignment is None or topic_partition not in assignment.tps:
            return None
        state = assignment.state_value(topic_partition)
        return state.position if state.has_valid_position else None

    def lag(self, partition: int) -> int:
        """Records of a partition that are not folded yet, by the ends known."""
        total = 0
        for topic_partition in self._pair(partition):
            end, done = self._ends.offsets.get(topic_partition), self._done.get(topic_partition)
            if end is not None and done is not None:
                # Transaction markers have offsets too: where everything was polled, what is left are those.
                position = self._position(topic_partition)
                total += 0 if position is not None and position >= end else max(0, end - done)
        return total

    async def watch(self, stopping: asyncio.Event, owned: Callable[[], Iterable[int]]) -> None:
        """Keep looking where the input topics end, and commit what has been folded, until stopping."""
        committed_at = 0.0
        while not stopping.is_set():
            pairs = [one for partition in owned() for one in self._pair(partition)]
            try:
                if pairs:
                    async with asyncio.timeout(10):
                        clock = time.time_ns() // 1000
                        self._ends = Ends(clock, await self.consumer.end_offsets(pairs))
                    if time.monotonic() - committed_at > _COMMIT_EVERY:
                        await self._commit()
                        committed_at = time.monotonic()
            except (KafkaError, IllegalStateError, TimeoutError, OSError) as error:
                log.info("ends_unknown", error=repr(error))
            try:
                async with asyncio.timeout(_TICK):
                    await stopping.wait()
            except TimeoutError:
                pass

    async def _commit(self) -> None:
        assigned = self.consumer.assignment()
        offsets = {one: offset for one, offset in self._done.items() if one in assigned}
        if not offsets:
            return
        try:
            async with asyncio.timeout(2):
                await self.consumer.commit(offsets)
        except (KafkaError, IllegalStateError, TimeoutError, OSError) as error:
            log.info("offsets_not_committed", error=repr(error))
