"""The engine's consumer and outbox publisher on Kafka do what the topics of the in-memory sessions do."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from touchline_runtime.config.settings import read_settings
from touchline_runtime.kafka.clients import Admin
from touchline_runtime.metrics import Metrics
from touchline_stage_engine import bootstrap
from touchline_stage_engine import metrics as declared
from touchline_stage_engine.adapters.kafka.consumer import KafkaTouchpointConsumer
from touchline_stage_engine.adapters.kafka.outbox_publisher import KafkaOutboxPublisher
from touchline_stage_engine.adapters.kafka.topics import Inputs, ensure_topics
from touchline_stage_engine.adapters.postgres.outbox import PostgresOutbox
from touchline_stage_engine.adapters.postgres.partition.lease import PostgresLease
from touchline_stage_engine.application.outbox_records import IDENTITY, STAGE_CHANGES, TOPIC_OF
from touchline_stage_engine.application.values import PartitionKey, Records
from touchline_stage_engine.settings import StageEngineSettings

from tests.support.engine.topics_suite import PARTITION, OutboxPublisherSuite, TouchpointConsumerSuite
from tests.support.engine.world import World
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack


@pytest.fixture
def settings(world: World) -> StageEngineSettings:
    return read_settings(
        StageEngineSettings,
        kafka_bootstrap_servers=world.bootstrap,
        database_url=world.database_url,
        topic_prefix=world.prefix,
        partitions=PARTITION + 1,
    )


@pytest.fixture
async def inputs(settings: StageEngineSettings) -> Inputs:
    async with Admin(settings, "test") as admin:
        return await ensure_topics(admin, settings)


@dataclass
class KafkaReading:
    world: World
    consumer: KafkaTouchpointConsumer

    async def write(self, topic: str, *values: bytes) -> None:
        for value in values:
            await self.world.producer.send_and_wait(self.world.topic(topic), value, key=b"key", partition=PARTITION)

    async def begin(self, touchpoints: int, identity: int) -> None:
        self.consumer.hold([PARTITION])
        await self.consumer.begin(PARTITION, touchpoints, identity)

    async def look(self) -> None:
        before = self.consumer._ends
        # The look after the next one began after this call.
        for _ in range(2):
            await wait_until(lambda last=before: self.consumer._ends is not last, "the ends are fetched")  # type: ignore[misc]
            before = self.consumer._ends

    async def poll(self) -> Records | None:
        return await self.consumer.poll(PARTITION, 1000, 0.2, asyncio.Event())


class TestKafkaConsumer(TouchpointConsumerSuite):
    @pytest.fixture
    async def reading(self, world: World, settings: StageEngineSettings, inputs: Inputs) -> AsyncIterator[KafkaReading]:
        consumer, assigned, stopping = (
            KafkaTouchpointConsumer(settings, inputs, "test"),
            asyncio.Event(),
            asyncio.Event(),
        )
        failed: list[Exception] = []

        async def note_assigned(partitions: set[int]) -> None:
            consumer.hold(partitions)
            assigned.set()

        async def note_revoked(partitions: set[int]) -> None:
            assigned.clear()

        await consumer.start(note_assigned, note_revoked, failed.append)
        watching = asyncio.create_task(consumer.watch(stopping, lambda: [PARTITION]))
        try:
            await assigned.wait()
            reading = KafkaReading(world, consumer)
            await reading.begin(0, 0)
            yield reading
            assert not failed
        finally:
            stopping.set()
            await watching
            await consumer.stop()


@dataclass
class KafkaOwner:
    lease: PostgresLease
    publisher: KafkaOutboxPublisher
    running: asyncio.Task[None] | None = None

    async def publish(self) -> None:
        if self.running is None:
            self.running = asyncio.create_task(self.publisher.run())
        flushed = asyncio.create_task(self.publisher.flushed())
        await asyncio.wait({flushed, self.running}, return_when=asyncio.FIRST_COMPLETED)
        if not flushed.done():
            flushed.cancel()
            self.running.result()


@dataclass
class KafkaPublishing:
    world: World
    settings: StageEngineSettings
    inputs: Inputs
    pool: asyncpg.Pool

    @asynccontextmanager
    async def owner(self) -> AsyncIterator[KafkaOwner]:
        key = PartitionKey(self.inputs.cluster_id, self.inputs.touchpoints_id, self.inputs.identity_id, PARTITION)
        lease = await PostgresLease.acquire(self.settings, key, "test")
        outbox = PostgresOutbox(self.pool, key)
        owner = KafkaOwner(lease, KafkaOutboxPublisher(self.settings, lease, outbox, Metrics(declared.ALL)))
        try:
            await owner.publisher.start()
            yield owner
        finally:
            if owner.running is not None:
                owner.running.cancel()
                with suppress(asyncio.CancelledError):
                    await owner.running
            await owner.publisher.close()
            await lease.close()

    async def published(self) -> Sequence[tuple[int, bytes | None, bytes | None]]:
        found: list[Any] = []
        for code in (STAGE_CHANGES, IDENTITY):
            name = TOPIC_OF[code].name
            found += [(code, record.key, record.value) for record in await self.world.records(name)]
        return found


class TestKafkaPublisher(OutboxPublisherSuite):
    @pytest.fixture
    async def publishing(
        self, world: World, settings: StageEngineSettings, inputs: Inputs
    ) -> AsyncIterator[KafkaPublishing]:
        await bootstrap.migrate(settings)
        path = {"search_path": bootstrap.search_path(settings)}
        async with asyncpg.create_pool(
            settings.database_url.get_secret_value(), min_size=1, max_size=2, server_settings=path
        ) as pool:
            yield KafkaPublishing(world, settings, inputs, pool)
