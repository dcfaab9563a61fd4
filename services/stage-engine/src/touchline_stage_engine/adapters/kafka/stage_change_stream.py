"""Read the stage-changes topic from a given position, for the server-sent events stream.

Each stream has its own consumer without a group. A client can therefore resume exactly after its last event, and a
slow client delays no other.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.errors import Unavailable
from touchline_runtime.kafka import clients as kafka
from touchline_runtime.kafka.shutdown import stop_client
from touchline_schemas.cloudevents import NotACloudEventError, from_headers
from touchline_schemas.topics import STAGE_CHANGES

from touchline_stage_engine.application.queries.values import StageChangeEvent, StreamPosition

_TIMEOUT_SECONDS = 5.0
_CHECK_AFTER = 5
"""Empty batches after which the stream checks that Kafka answers."""


class KafkaStageChangeStream:
    """Implements the port `StageChangeStream`."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._topic = STAGE_CHANGES.full_name(settings.topic_prefix)

    @asynccontextmanager
    async def follow(
        self, position: StreamPosition | None, *, wait_seconds: float
    ) -> AsyncIterator[AsyncIterator[list[StageChangeEvent]]]:
        """Facts from `position` on (None: new facts), in batches; an empty one after `wait_seconds` without any.

        Raises:
            Unavailable: Kafka does not answer.
        """
        consumer = kafka.consumer(self._settings, "touchline-stream", auto_offset_reset="earliest")
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                await consumer.start()
            partitions = [
                TopicPartition(self._topic, number)
                for number in sorted(consumer.partitions_for_topic(self._topic) or ())
            ]
            if not partitions:
                # The client has no metadata of a topic before the first request for it.
                partitions = [TopicPartition(self._topic, number) for number in range(self._settings.partitions)]
            consumer.assign(partitions)
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                await _seek(consumer, partitions, position)
            yield _facts(consumer, partitions, wait_seconds)
        except (KafkaError, OSError) as error:
            raise Unavailable(f"Kafka does not answer: {error!r}") from None
        finally:
            await stop_reading(consumer)


async def _seek(consumer: AIOKafkaConsumer, partitions: list[TopicPartition], position: StreamPosition | None) -> None:
    ends = await consumer.end_offsets(partitions)
    for partition in partitions:
        offset = ends[partition] if position is None else position.offsets.get(partition.partition, 0)
        consumer.seek(partition, min(offset, ends[partition]))


async def _facts(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], wait_seconds: float
) -> AsyncIterator[list[StageChangeEvent]]:
    offsets = {partition.partition: await consumer.position(partition) for partition in partitions}
    silent = 0
    while True:
        try:
            batches = await consumer.getmany(timeout_ms=int(wait_seconds * 1000))
        except OffsetOutOfRangeError:
            # Retention has removed the next records: continue with the oldest that are left.
            await consumer.seek_to_beginning(*partitions)
            continue
        silent = 0 if batches else silent + 1
        if silent % _CHECK_AFTER == _CHECK_AFTER - 1:
            # A consumer whose brokers are unreachable returns empty batches too.
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                await consumer.end_offsets(partitions)
        events: list[StageChangeEvent] = []
        for partition, records in batches.items():
            for record in records:
                offsets[partition.partition] = record.offset + 1
                try:
                    context = from_headers(record.headers)
                    data = orjson.loads(record.value)
                except (NotACloudEventError, orjson.JSONDecodeError, TypeError):
                    continue
                events.append(
                    StageChangeEvent(
                        context.id, context.type, record.value, data.get("customer_id", ""), data.get("lifecycle"),
                        str(StreamPosition(offsets)),
                    )
                )  # fmt: skip
        yield events


async def stop_reading(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer without a group. Where brokers are away, aiokafka's own stop is cancelled by its own tasks."""
    if not await stop_client(consumer.stop(), _TIMEOUT_SECONDS, "stream"):
        await stop_client(consumer._client.close(), 1, "stream-connections")
