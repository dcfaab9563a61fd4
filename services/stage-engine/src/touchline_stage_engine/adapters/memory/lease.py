"""Partition leases in memory: implements `ports.PartitionLease`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from touchline_stage_engine.adapters.memory.database import MemoryDatabase
from touchline_stage_engine.adapters.memory.tables import MemoryTables
from touchline_stage_engine.application.errors import FencedError
from touchline_stage_engine.application.ports import PartitionTables
from touchline_stage_engine.application.values import PartitionKey, Position


class MemoryLease:
    """One partition's lease. Transactions of different leases must not overlap."""

    def __init__(self, database: MemoryDatabase, key: PartitionKey, position: Position) -> None:
        self._database = database
        self._row_key = (key.cluster_id, key.topic_id, key.partition)
        self._tables = MemoryTables(database, self._row_key)
        self.key = key
        self.position = position

    @classmethod
    async def acquire(cls, database: MemoryDatabase, key: PartitionKey) -> "MemoryLease":
        """Take a partition from its present owner, if it has one."""
        row_key = (key.cluster_id, key.topic_id, key.partition)
        stored = database.partitions.setdefault(row_key, Position(0, 0, 0, 0, 0, 0, 0))
        stored.epoch += 1
        return cls(database, key, replace(stored))

    def _stored(self) -> Position:
        stored = self._database.partitions[self._row_key]
        if stored.epoch != self.position.epoch:
            raise FencedError(f"partition {self.key.partition} was taken by another process")
        return stored

    @asynccontextmanager
    async def fenced_transaction(
        self, touchpoints: int | None = None, identity: int | None = None
    ) -> AsyncIterator[PartitionTables]:
        position, stored = self.position, self._stored()
        if (stored.touchpoints, stored.identity) != (position.touchpoints, position.identity):
            raise FencedError(f"partition {self.key.partition} was taken by another process")
        touchpoints = position.touchpoints if touchpoints is None else touchpoints
        identity = position.identity if identity is None else identity
        snapshot = self._database.snapshot()
        stored.touchpoints, stored.identity = touchpoints, identity
        try:
            yield self._tables
        except BaseException:
            self._database.restore(snapshot)
            raise
        position.touchpoints, position.identity = touchpoints, identity

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[PartitionTables]:
        yield self._tables

    async def begin_era(self, era: int, last_outbox_id: int) -> None:
        stored = self._stored()
        stored.era, stored.last_outbox_id = era, last_outbox_id
        self.position.era, self.position.last_outbox_id = era, last_outbox_id

    async def record_generation(self, generation: int) -> None:
        self._stored().generation = self.position.generation = generation

    async def close(self) -> None:
        """Nothing to drop."""
