"""A publisher under test, and what it has published."""

from dataclasses import dataclass
from typing import Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from touchline_ingest.adapters.kafka.producer import KafkaPublisher
from touchline_ingest.adapters.memory.publisher import MemoryPublisher
from touchline_ingest.application.ports import Publisher
from touchline_ingest.core.touchpoints.records import Record
from touchline_ingest.settings import IngestSettings
from touchline_schemas.topics import Topic


class Published(Protocol):
    """A publisher and its log."""

    @property
    def publisher(self) -> Publisher: ...

    async def read(self, topic: Topic) -> list[Record]:
        """Everything on a topic; records of one key in order."""


@dataclass
class InMemory:
    publisher: MemoryPublisher

    async def read(self, topic: Topic) -> list[Record]:
        return list(self.publisher.published[topic.name])


@dataclass
class OnKafka:
    publisher: KafkaPublisher
    settings: IngestSettings

    async def read(self, topic: Topic) -> list[Record]:
        return [record for _, record in await self.read_with_partitions(topic)]

    async def read_with_partitions(self, topic: Topic) -> list[tuple[int, Record]]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.settings.kafka_bootstrap_servers,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        name = topic.full_name(self.settings.topic_prefix)
        partitions = [TopicPartition(name, number) for number in range(self.settings.partitions)]
        await consumer.start()
        try:
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            await consumer.seek_to_beginning(*partitions)
            found: list[tuple[int, Record]] = []
            for partition in partitions:
                while await consumer.position(partition) < ends[partition]:
                    for records in (await consumer.getmany(partition, timeout_ms=500)).values():
                        found += [(r.partition, Record(r.key, r.value, list(r.headers))) for r in records]
            return found
        finally:
            await consumer.stop()
