"""The reader's consumer, and where in a topic it can go on."""

from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from touchline_runtime import kafka
from touchline_runtime.settings import ServiceSettings

log = structlog.get_logger(__name__)


def build_consumer(settings: ServiceSettings, worker: str | None) -> AIOKafkaConsumer:
    """A member of the notifiers' group. Not started.

    Args:
        worker: its name among them, under which it comes back after a restart without a rebalance; None: none.
    """
    arguments: dict[str, Any] = {
        # Between the assignment and our seek, and when retention cuts a topic under us: nothing is passed over.
        "auto_offset_reset": "earliest",
        "group_id": f"{settings.topic_prefix}.notifier",
        # Both topics' partition n to the same process.
        "partition_assignment_strategy": (RangePartitionAssignor,),
        "session_timeout_ms": 6000,
        "heartbeat_interval_ms": 1500,
        "rebalance_timeout_ms": 30000,
        "max_poll_interval_ms": 300000,
    }
    if worker is not None:
        arguments["group_instance_id"] = worker
    return kafka.consumer(settings, f"{settings.topic_prefix}-notifier", **arguments)


async def reachable(consumer: AIOKafkaConsumer, where: TopicPartition, position: int) -> int:
    """The position, or the nearest that exists: retention may have cut the topic, or it was made anew."""
    beginning = (await consumer.beginning_offsets([where]))[where]
    end = (await consumer.end_offsets([where]))[where]
    nearest = min(max(position, beginning), max(end, beginning))
    if position > end:
        # Somebody deleted the topic. What is in the new one was never read; seen facts are known by their ids.
        nearest = beginning
    if nearest != position and position:
        log.warning("position_moved", topic=where.topic, partition=where.partition, was=position, now=nearest)
    return int(nearest)
