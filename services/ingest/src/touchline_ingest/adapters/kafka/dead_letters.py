"""Reads the dead-letters topic: the newest dead letters, one of them, or all."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from touchline_runtime.errors import Unavailable
from touchline_runtime.kafka import clients as kafka
from touchline_schemas.topics import DEAD_LETTERS

from touchline_ingest.application.ports import MOST_RECENT, RecentDeadLetters
from touchline_ingest.core.history.dead_letter_replay import DeadLetter
from touchline_ingest.settings import IngestSettings

_CACHE_SECONDS = 3.0
_TIMEOUT_SECONDS = 5.0


class KafkaDeadLetters:
    """The dead letters of one topic prefix. The newest ones are read at most every few seconds, for all callers."""

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._topic = DEAD_LETTERS.full_name(settings.topic_prefix)
        self._lock = asyncio.Lock()
        self._cached: tuple[float, RecentDeadLetters] | None = None

    async def recent(self) -> RecentDeadLetters:
        """The newest dead letters, at most a few seconds old.

        Raises:
            Unavailable: Kafka does not answer.
        """
        async with self._lock:
            if self._cached is None or time.monotonic() - self._cached[0] > _CACHE_SECONDS:
                try:
                    async with asyncio.timeout(_TIMEOUT_SECONDS):
                        self._cached = (time.monotonic(), await self._read_recent())
                except (KafkaError, OSError, TimeoutError) as error:
                    raise Unavailable(f"Kafka does not answer: {error!r}") from None
            return self._cached[1]

    async def get(self, partition: int, offset: int) -> DeadLetter | None:
        """One dead letter, or None.

        Raises:
            Unavailable: Kafka does not answer.
        """
        consumer = self._consumer()
        pair = TopicPartition(self._topic, partition)
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                await consumer.start()
                if pair not in await self._partitions():
                    return None
                begin = (await consumer.beginning_offsets([pair]))[pair]
                end = (await consumer.end_offsets([pair]))[pair]
                if not begin <= offset < end:
                    return None
                consumer.assign([pair])
                consumer.seek(pair, offset)
                found = (await consumer.getmany(pair, timeout_ms=1500, max_records=1)).get(pair, ())
                return next((_dead_letter(record) for record in found if record.offset == offset), None)
        except (KafkaError, OSError, TimeoutError) as error:
            raise Unavailable(f"Kafka does not answer: {error!r}") from None
        finally:
            await consumer.stop()

    async def read_all(self) -> AsyncIterator[DeadLetter]:
        """Every dead letter up to the topic's end at the time of the call, by partition and offset.

        Raises:
            Unavailable: no broker answered within the start-up time.
        """
        consumer = self._consumer()
        await kafka.start_when_reachable(consumer, self._settings)
        try:
            partitions = await self._partitions()
            if not partitions:
                return
            ends = await consumer.end_offsets(partitions)
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            async for dead_letter in _read_to(consumer, ends):
                yield dead_letter
        finally:
            await consumer.stop()

    def _consumer(self) -> AIOKafkaConsumer:
        return kafka.consumer(self._settings, "touchline-ingest-dead-letters", auto_offset_reset="earliest")

    async def _partitions(self) -> list[TopicPartition]:
        """The topic's partitions; none when there is no such topic."""
        async with kafka.Admin(self._settings, "touchline-ingest-dead-letters") as admin:
            if self._topic not in await admin.client.list_topics():
                return []
            (described,) = await admin.client.describe_topics([self._topic])
        return sorted(TopicPartition(self._topic, found["partition"]) for found in described["partitions"])

    async def _read_recent(self) -> RecentDeadLetters:
        consumer = self._consumer()
        try:
            await consumer.start()
            partitions = await self._partitions()
            if not partitions:
                return RecentDeadLetters((), 0, 0)
            begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
            yesterday = int((datetime.now(UTC) - timedelta(days=1)).timestamp() * 1000)
            since = await consumer.offsets_for_times(dict.fromkeys(partitions, yesterday))
            last_day = sum(ends[pair] - since[pair].offset for pair in partitions if since.get(pair) is not None)
            share = max(1, MOST_RECENT // len(partitions))
            consumer.assign(partitions)
            for pair in partitions:
                consumer.seek(pair, max(begins[pair], ends[pair] - share))
            dead_letters = [dead_letter async for dead_letter in _read_to(consumer, ends)]
            dead_letters.sort(
                key=lambda dead_letter: (dead_letter.at, dead_letter.partition, dead_letter.offset), reverse=True
            )
            return RecentDeadLetters(
                tuple(dead_letters), sum(ends[pair] - begins[pair] for pair in partitions), last_day
            )
        finally:
            await consumer.stop()


async def _read_to(consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> AsyncIterator[DeadLetter]:
    """What lies between the consumer's positions and these offsets, one partition after the other."""
    for partition, end in ends.items():
        while await consumer.position(partition) < end:
            batch = await consumer.getmany(partition, timeout_ms=1000, max_records=500)
            for record in batch.get(partition, ()):
                yield _dead_letter(record)


def _dead_letter(record: Any) -> DeadLetter:
    return DeadLetter(
        partition=record.partition,
        offset=record.offset,
        at=datetime.fromtimestamp(record.timestamp / 1000, UTC),
        key=record.key,
        value=record.value or b"",
        headers=tuple(record.headers),
    )
