"""Reads the committed records of every topic, up to their ends at the time of asking."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer

from touchline_checker.evidence import TOPICS, Record


class TopicsMissingError(Exception):
    """No topic of the deployment exists: the prefix or the address is wrong."""


async def read_topics(bootstrap: str, prefix: str) -> dict[str, list[Record]]:
    """Topic → its records, by partition in order. A topic that does not exist has none.

    Raises:
        TopicsMissingError: none of them exists.
    """
    names = {f"{prefix}.{name}.v1": name for name in TOPICS}
    found: dict[str, list[Record]] = {name: [] for name in TOPICS}
    async with _consumer(bootstrap) as consumer:
        existing = sorted(names.keys() & await consumer.topics())
    if not existing:
        raise TopicsMissingError(f"no topic {prefix}.….v1 exists at {bootstrap}: check the prefix and the address")
    for topic in existing:
        async with _consumer(bootstrap, topic) as consumer:
            found[names[topic]] = await _read(consumer)
    return found


@asynccontextmanager
async def _consumer(bootstrap: str, *topics: str) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        *topics,
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_partition_fetch_bytes=8 * 1024 * 1024,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def _read(consumer: AIOKafkaConsumer) -> list[Record]:
    """Everything on the consumer's topic. Without a group it is assigned all partitions."""
    pairs = sorted(consumer.assignment())
    if not pairs:
        raise TopicsMissingError("the partitions of a topic are not known")
    ends = await consumer.end_offsets(pairs)
    records: dict[int, list[Record]] = {pair.partition: [] for pair in pairs}
    left = set(pairs)
    while left:
        for pair, batch in (await consumer.getmany(timeout_ms=200, max_records=5000)).items():
            records[pair.partition] += [_record(record) for record in batch if record.offset < ends[pair]]
        # The end of a partition may be the marker of a transaction, which is no record.
        left = {pair for pair in left if await consumer.position(pair) < ends[pair]}
    return [record for number in sorted(records) for record in records[number]]


def _record(record: Any) -> Record:
    return Record(
        record.partition,
        record.offset,
        None if record.key is None else record.key.decode(errors="replace"),
        {name: value.decode(errors="replace") for name, value in record.headers},
        _value(record.value),
        record.timestamp * 1000,
    )


def _value(raw: bytes | None) -> Any:
    if raw is None:
        return None
    try:
        return orjson.loads(raw)
    except ValueError:
        return raw.decode(errors="replace")
