"""The topics of the in-memory sessions do what Kafka's do."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from touchline_schemas.partitions import partition_of
from touchline_stage_engine.adapters.memory.database import MemoryDatabase
from touchline_stage_engine.adapters.memory.lease import MemoryLease
from touchline_stage_engine.application.outbox_records import IDENTITY
from touchline_stage_engine.application.values import PartitionKey, Records

from tests.support.engine.memory_records import Record
from tests.support.engine.memory_sessions import Publisher, Topics
from tests.support.engine.topics_suite import PARTITION, OutboxPublisherSuite, TouchpointConsumerSuite


class MemoryReading:
    def __init__(self) -> None:
        self.consumer = Topics(PARTITION + 1)

    async def write(self, topic: str, *values: bytes) -> None:
        log = getattr(self.consumer, topic)[PARTITION]
        for value in values:
            log.append(Record(topic, PARTITION, len(log), b"key", value))

    async def begin(self, touchpoints: int, identity: int) -> None:
        self.consumer.read[PARTITION] = touchpoints, identity

    async def look(self) -> None:
        self.consumer.watch()

    async def poll(self) -> Records | None:
        self.consumer.next_read[PARTITION] = 1000, 1000
        return await self.consumer.poll(PARTITION, 1000, 0.0, asyncio.Event())


@dataclass
class MemoryOwner:
    lease: MemoryLease
    publisher: Publisher

    async def publish(self) -> None:
        self.publisher.publish(1000)


class MemoryPublishing:
    def __init__(self) -> None:
        self.database = MemoryDatabase()
        self.topics = Topics(PARTITION + 1)

    @asynccontextmanager
    async def owner(self) -> AsyncIterator[MemoryOwner]:
        lease = await MemoryLease.acquire(self.database, PartitionKey("cluster", "topic", "identity", PARTITION))
        yield MemoryOwner(lease, Publisher(self.database, self.topics, PARTITION))

    async def published(self) -> Sequence[tuple[int, bytes | None, bytes | None]]:
        messages = self.topics.identity[partition_of("bob", PARTITION + 1)]
        return [(record.topic, record.key, record.value) for record in self.topics.published] + [
            (IDENTITY, record.key, record.value) for record in messages
        ]


class TestMemoryConsumer(TouchpointConsumerSuite):
    @pytest.fixture
    def reading(self) -> MemoryReading:
        return MemoryReading()


class TestMemoryPublisher(OutboxPublisherSuite):
    @pytest.fixture
    def publishing(self) -> MemoryPublishing:
        return MemoryPublishing()
