"""Following the stage-changes topic from a place that the follower names, for the SSE stream.

Each follower has a consumer of its own, without a group: a stream can be taken up again exactly where it was lost,
and a slow follower holds up nobody.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from touchline_runtime import kafka
from touchline_runtime.closing import let_go
from touchline_runtime.errors import Unavailable
from touchline_runtime.settings import ServiceSettings
from touchline_schemas.cloudevents import NotACloudEventError, from_headers

_PATIENCE = 5.0
_LOOK_AFTER = 5
"""Batches without a fact after which it is asked whether Kafka is there."""


@dataclass(frozen=True, slots=True)
class Told:
    """One fact: its CloudEvent id and type, its data as JSON, and the place after it (a `Place`'s text)."""

    id: str
    type: str
    data: bytes
    customer_id: str
    lifecycle: str | None
    place: str


class BadPlaceError(ValueError):
    """A text that names no place in the stream."""


class Place:
    """How far a follower got: the next offset of every partition, as a text such as ``0:17,3:2``."""

    def __init__(self, offsets: dict[int, int]) -> None:
        self.offsets = offsets

    @classmethod
    def read(cls, text: str) -> "Place":
        """The place a text names.

        Raises:
            BadPlaceError: it names none.
        """
        try:
            pairs = [part.split(":") for part in text.split(",")]
            offsets = {int(partition): int(offset) for partition, offset in pairs}
        except ValueError:
            raise BadPlaceError(f"{text!r} is no id of an event of this stream") from None
        if any(not 0 <= number < 1 << 62 for pair in offsets.items() for number in pair):
            raise BadPlaceError(f"{text!r} is no id of an event of this stream")
        return cls(offsets)

    def __str__(self) -> str:
        return ",".join(f"{partition}:{offset}" for partition, offset in sorted(self.offsets.items()))


@asynccontextmanager
async def follow(
    settings: ServiceSettings, topic: str, place: Place | None, *, patience: float
) -> AsyncIterator[AsyncIterator[list[Told]]]:
    """Facts from `place` on (None: those to come), in batches; an empty one after `patience` seconds without any.

    Raises:
        Unavailable: Kafka does not answer.
    """
    consumer = kafka.consumer(settings, "touchline-stream", auto_offset_reset="earliest")
    try:
        async with asyncio.timeout(_PATIENCE):
            await consumer.start()
        partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        if not partitions:
            partitions = [
                TopicPartition(topic, number) for number in range(settings.partitions)
            ]  # metadata of a topic nobody asked for yet
        consumer.assign(partitions)
        async with asyncio.timeout(_PATIENCE):
            await _seek(consumer, partitions, place)
        yield _facts(consumer, partitions, patience)
    except (KafkaError, OSError) as error:
        raise Unavailable(f"Kafka does not answer: {error!r}") from None
    finally:
        await stop_reading(consumer)


async def _seek(consumer: AIOKafkaConsumer, partitions: list[TopicPartition], place: Place | None) -> None:
    ends = await consumer.end_offsets(partitions)
    for partition in partitions:
        offset = ends[partition] if place is None else place.offsets.get(partition.partition, 0)
        consumer.seek(partition, min(offset, ends[partition]))


async def _facts(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], patience: float
) -> AsyncIterator[list[Told]]:
    offsets = {partition.partition: await consumer.position(partition) for partition in partitions}
    silent = 0
    while True:
        try:
            batches = await consumer.getmany(timeout_ms=int(patience * 1000))
        except OffsetOutOfRangeError:
            # Retention was quicker than the follower: go on with what is left.
            await consumer.seek_to_beginning(*partitions)
            continue
        silent = 0 if batches else silent + 1
        if silent % _LOOK_AFTER == _LOOK_AFTER - 1:
            # A consumer whose brokers are gone waits in silence: is it only that nothing happens?
            async with asyncio.timeout(_PATIENCE):
                await consumer.end_offsets(partitions)
        told: list[Told] = []
        for partition, records in batches.items():
            for record in records:
                offsets[partition.partition] = record.offset + 1
                try:
                    context = from_headers(record.headers)
                    data = orjson.loads(record.value)
                except (NotACloudEventError, orjson.JSONDecodeError, TypeError):
                    continue
                told.append(
                    Told(
                        context.id, context.type, record.value, data.get("customer_id", ""), data.get("lifecycle"),
                        str(Place(offsets)),
                    )
                )  # fmt: skip
        yield told


async def stop_reading(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer without a group. Where brokers are away, aiokafka's own stop is cancelled by its own tasks."""
    if not await let_go(consumer.stop(), _PATIENCE, "stream"):
        await let_go(consumer._client.close(), 1, "stream-connections")
