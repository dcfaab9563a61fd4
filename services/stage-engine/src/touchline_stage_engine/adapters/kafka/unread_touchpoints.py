"""Finds a touchpoint among those that are accepted and not folded yet."""

import asyncio
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.kafka import clients as kafka
from touchline_schemas.topics import TOUCHPOINTS

from touchline_stage_engine.adapters.kafka.stage_change_stream import stop_reading

# Where each partition's owner has come to. Rows of earlier topics stay: the one claimed last is the living one's.
POSITIONS = text("""
    SELECT DISTINCT ON (partition) partition, next_offset
    FROM partitions
    ORDER BY partition, claimed_at DESC NULLS LAST
""")

MOST_RECORDS = 20_000
MOST_SECONDS = 3.0
AT_ONCE = 2


class KafkaUnreadTouchpoints:
    """Searches the touchpoints topic after the owners' positions: some thousand records, not a backlog."""

    def __init__(self, settings: ServiceSettings, engine: AsyncEngine) -> None:
        self._settings = settings
        self._engine = engine
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def holds(self, source: str, id: str) -> bool | None:  # noqa: A002
        """Whether the touchpoint is among the unread; None when not all of them could be looked at."""
        async with self._engine.connect() as connection:
            rows = (await connection.execute(POSITIONS)).mappings().all()
        positions = {row["partition"]: row["next_offset"] for row in rows}
        try:
            async with self._turns, asyncio.timeout(MOST_SECONDS):
                return await self._search(positions, source, id)
        except (KafkaError, OSError, TimeoutError):
            return None

    async def _search(self, positions: dict[int, int], source: str, id_: str) -> bool | None:
        consumer: AIOKafkaConsumer = kafka.consumer(
            self._settings, "touchline-unread", auto_offset_reset="earliest", max_poll_records=1000
        )
        topic = TOUCHPOINTS.full_name(self._settings.topic_prefix)
        try:
            await consumer.start()
            pairs = [TopicPartition(topic, number) for number in range(self._settings.partitions)]
            ends = await consumer.end_offsets(pairs)
            begins = await consumer.beginning_offsets(pairs)
            left = {}
            for pair in pairs:
                at = max(positions.get(pair.partition, 0), begins[pair])
                if at < ends[pair]:
                    left[pair] = at
            if not left:
                return False
            consumer.assign(list(left))
            for pair, at in left.items():
                consumer.seek(pair, at)
            seen = 0
            while seen < MOST_RECORDS:
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    seen += len(records)
                    if any(_is(record.value, source, id_) for record in records):
                        return True
                if all([await consumer.position(pair) >= ends[pair] for pair in left]):
                    return False
            return None
        finally:
            await stop_reading(consumer)


def _is(value: bytes | None, source: str, id_: str) -> bool:
    if value is None:
        return False
    try:
        data: Any = orjson.loads(value)
    except orjson.JSONDecodeError:
        return False
    return isinstance(data, dict) and data.get("id") == id_ and data.get("source") == source
