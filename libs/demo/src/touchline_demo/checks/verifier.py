"""Read every topic from its beginning with plain Kafka clients, committed records only, and keep ledgers.

The verifier asks no service for anything.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from touchline_schemas.cloudevents import from_headers
from touchline_schemas.topics import (
    CUSTOMER_STAGES,
    DEAD_LETTERS,
    IDENTITY,
    RETENTION_ACTIONS,
    STAGE_CHANGES,
    TOUCHPOINTS,
)

from touchline_demo.checks.ledgers import ActionLedger, DeadLetterLedger, FactLedger, StageLedger, TouchpointLedger


class Verifier:
    """Reads until it is stopped. The ledgers are complete once :meth:`caught_up` has returned True."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.touchpoints = TouchpointLedger()
        self.facts = FactLedger()
        self.stages = StageLedger()
        self.actions = ActionLedger()
        self.dead_letters = DeadLetterLedger()
        self.read = 0
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._takers: dict[str, Callable[[ConsumerRecord[bytes, bytes]], None]] = {
            TOUCHPOINTS.full_name(prefix): lambda record: self.touchpoints.add(_data(record)),
            STAGE_CHANGES.full_name(prefix): self._fact,
            CUSTOMER_STAGES.full_name(prefix): self._stage,
            RETENTION_ACTIONS.full_name(prefix): self._action,
            DEAD_LETTERS.full_name(prefix): lambda record: self.dead_letters.add(dict(record.headers)),
        }
        self._consumer = AIOKafkaConsumer(
            *self._takers,
            bootstrap_servers=bootstrap,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            max_poll_records=5000,
        )
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Verifier":
        await self._consumer.start()
        self._reading = asyncio.create_task(self._read(), name="verifier")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading
        await self._consumer.stop()

    async def caught_up(self) -> bool:
        """Whether everything that is on the topics now has been read.

        Raises:
            Exception: the error that ended the reading.
        """
        if self._reading is not None and self._reading.done():
            self._reading.result()
        partitions = list(self._consumer.assignment())
        ends = await self._consumer.end_offsets(partitions)
        for partition in partitions:
            if await self._consumer.position(partition) < ends[partition]:
                return False
        return bool(partitions)

    async def lag(self) -> dict[str, int]:
        """Records after the positions that each group committed; markers of transactions are no records."""
        groups = {
            f"{self._prefix}.stage-engine": [TOUCHPOINTS, IDENTITY],
            f"{self._prefix}.notifier": [TOUCHPOINTS, STAGE_CHANGES],
        }
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        await admin.start()
        try:
            behind = {}
            for group, topics in groups.items():
                committed = await admin.list_consumer_group_offsets(group)
                positions = {
                    partition: committed[partition].offset if partition in committed else 0
                    for topic in topics
                    for partition in self._partitions(topic.full_name(self._prefix))
                }
                behind[group] = await self._records_after(positions)
            return behind
        finally:
            await admin.close()

    def _partitions(self, topic: str) -> list[TopicPartition]:
        # All topics that are keyed by customer have the same number.
        numbers = self._consumer.partitions_for_topic(TOUCHPOINTS.full_name(self._prefix)) or ()
        return [TopicPartition(topic, number) for number in numbers]

    async def _records_after(self, positions: dict[TopicPartition, int]) -> int:
        ends = await self._consumer.end_offsets(list(positions))
        open_ones = {partition: offset for partition, offset in positions.items() if offset < ends[partition]}
        if not open_ones:
            return 0
        reader = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap, isolation_level="read_committed", enable_auto_commit=False
        )
        await reader.start()
        try:
            reader.assign(list(open_ones))
            for partition, offset in open_ones.items():
                reader.seek(partition, max(offset, 0))
            found = 0
            for partition in open_ones:
                while await reader.position(partition) < ends[partition]:
                    found += len((await reader.getmany(partition, timeout_ms=200)).get(partition, ()))
            return found
        finally:
            await reader.stop()

    async def _read(self) -> None:
        while True:
            batches = await self._consumer.getmany(timeout_ms=200)
            for partition, records in batches.items():
                take = self._takers[partition.topic]
                for record in records:
                    take(record)
                self.read += len(records)
                await asyncio.sleep(0)

    def _fact(self, record: "ConsumerRecord[bytes, bytes]") -> None:
        context = from_headers(record.headers)
        self.facts.add(context.id, context.type, _data(record))

    def _stage(self, record: "ConsumerRecord[bytes, bytes]") -> None:
        assert record.key is not None
        self.stages.add(record.key.decode(), None if record.value is None else _data(record))

    def _action(self, record: "ConsumerRecord[bytes, bytes]") -> None:
        self.actions.add(from_headers(record.headers).id, _data(record))


def _data(record: "ConsumerRecord[bytes, bytes]") -> dict[str, Any]:
    assert record.value is not None
    data: dict[str, Any] = orjson.loads(record.value)
    return data
