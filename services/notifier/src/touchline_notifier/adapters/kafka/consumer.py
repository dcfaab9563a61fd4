"""The session's consumer, a member of the notifiers' group."""

import asyncio
import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError
from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.kafka import clients as kafka
from touchline_runtime.kafka.faults import check_assignment
from touchline_runtime.kafka.shutdown import stop_client
from touchline_schemas.topics import STAGE_CHANGES, TOUCHPOINTS

from touchline_notifier.application.ports import PartitionLease
from touchline_notifier.application.session_ports import AssignmentListener, Fetched, Record, Topic

log = structlog.get_logger(__name__)

_POLL_MS = 100


class KafkaRecordConsumer:
    """Implements :class:`~touchline_notifier.application.session_ports.RecordConsumer`.

    Args:
        worker: the member's name, under which it comes back after a restart without a rebalance; None: none.
    """

    def __init__(self, settings: ServiceSettings, worker: str | None) -> None:
        self._settings = settings
        self.topic_names: Mapping[Topic, str] = {
            "touchpoints": TOUCHPOINTS.full_name(settings.topic_prefix),
            "facts": STAGE_CHANGES.full_name(settings.topic_prefix),
        }
        arguments: dict[str, Any] = {
            # Between the assignment and our seek, and when retention cuts a topic under us: nothing is skipped.
            "auto_offset_reset": "earliest",
            "group_id": f"{settings.topic_prefix}.notifier",
            # Partition n of both topics goes to the same process.
            "partition_assignment_strategy": (RangePartitionAssignor,),
            "session_timeout_ms": 6000,
            "heartbeat_interval_ms": 1500,
            "rebalance_timeout_ms": 30000,
            "max_poll_interval_ms": 300000,
            # Requests for ends, which facts wait for, are answered after the fetch that waits on the same connection.
            "fetch_max_wait_ms": 100,
        }
        if worker is not None:
            arguments["group_instance_id"] = worker
        self._consumer: AIOKafkaConsumer = kafka.consumer(settings, f"{settings.topic_prefix}-notifier", **arguments)

    async def start(self, listener: AssignmentListener) -> None:
        rebalance = _RebalanceListener(listener, self.topic_names)
        self._consumer.subscribe(list(self.topic_names.values()), listener=rebalance)
        await kafka.start_when_reachable(self._consumer, self._settings)

    async def fetch(self, at_most: int) -> Fetched:
        fetched = await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=at_most)
        found: dict[str, dict[int, Sequence[Record]]] = {name: {} for name in self.topic_names.values()}
        for at, records in fetched.items():
            found[at.topic][at.partition] = records
        return Fetched(found[self.topic_names["touchpoints"]], found[self.topic_names["facts"]])

    async def seek(self, leases: Collection[PartitionLease]) -> None:
        offsets = {self._at("touchpoints", lease.partition): lease.next_touchpoint for lease in leases}
        offsets |= {self._at("facts", lease.partition): lease.next_fact for lease in leases}
        if not offsets:
            return
        # A fetch that waits for records keeps the broker from answering later requests of the connection: meanwhile
        # nothing is fetched, and all partitions are asked for at once. The group expects a heartbeat within seconds.
        self._consumer.pause(*offsets)
        beginnings = await self._consumer.beginning_offsets(list(offsets))
        ends = await self._consumer.end_offsets(list(offsets))
        for at, offset in offsets.items():
            nearest = _nearest(offset, beginnings[at], ends[at])
            if nearest != offset and offset:
                log.warning("position_moved", topic=at.topic, partition=at.partition, was=offset, now=nearest)
            self._consumer.seek(at, nearest)
        self._consumer.resume(*offsets)

    async def position(self, topic: Topic, partition: int) -> int:
        return int(await self._consumer.position(self._at(topic, partition)))

    async def end_offsets(self, topic: Topic, partitions: Iterable[int]) -> dict[int, int]:
        ends = await self._consumer.end_offsets([self._at(topic, number) for number in partitions])
        return {at.partition: int(end) for at, end in ends.items()}

    def pause(self, partition: int) -> None:
        self._consumer.pause(self._at("facts", partition))

    def resume(self, partition: int) -> None:
        self._consumer.resume(self._at("facts", partition))

    async def commit(self, offsets: Mapping[tuple[Topic, int], int]) -> None:
        with contextlib.suppress(KafkaError, TimeoutError):
            committed = {self._at(topic, partition): offset for (topic, partition), offset in offsets.items()}
            await asyncio.wait_for(self._consumer.commit(committed), 2)

    async def stop(self) -> None:
        """Leave the group, within ten seconds."""
        await stop_client(self._consumer.stop(), 10, "consumer")

    def _at(self, topic: Topic, partition: int) -> TopicPartition:
        return TopicPartition(self.topic_names[topic], partition)


def _nearest(offset: int, beginning: int, end: int) -> int:
    """The offset, or the nearest that exists: retention may have cut the topic, or it was deleted and created."""
    if offset > end:
        # The topic was deleted. What is in the new one was never read; facts seen before are known by their ids.
        return beginning
    return min(max(offset, beginning), max(end, beginning))


class _RebalanceListener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """Passes assignments of the facts topic on: those of the touchpoints are the same."""

    def __init__(self, listener: AssignmentListener, topic_names: Mapping[Topic, str]) -> None:
        self._listener = listener
        self._topics = topic_names

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """All partitions are given up."""
        await self._listener.revoked()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """These are read from now on."""
        try:
            check_assignment(assigned, list(self._topics.values()))
        except KafkaError as error:
            self._listener.failed(error)
            return
        await self._listener.assigned(sorted(at.partition for at in assigned if at.topic == self._topics["facts"]))
