"""The stored touchpoints in chunks of customers, each read by a statement of its own: no snapshot is kept."""

from collections.abc import AsyncIterator

import asyncpg

from touchline_stage_engine.adapters.postgres.definitions import RUNNING_VERSIONS_OF
from touchline_stage_engine.application.batches.changes import read_touchpoint
from touchline_stage_engine.application.simulation import CustomerTouchpoints
from touchline_stage_engine.application.values import StoredDefinition

TOUCHPOINTS_AT_ONCE = 5000
_CUSTOMERS_AT_ONCE = 1000

# An alias keeps its touchpoints, and its customer has copies of them.
CUSTOMERS = "SELECT count(*) FROM customers WHERE merged_into IS NULL AND touchpoints > 0"
PARTITIONS = "SELECT DISTINCT partition FROM customers ORDER BY partition"
NEXT_CUSTOMERS = """
SELECT customer_id, touchpoints, merged_into IS NULL AND touchpoints > 0
    AND abs(hashtextextended(customer_id, 0) % $4) = 0 AS wanted
FROM customers
WHERE partition = $1 AND customer_id > $2
ORDER BY customer_id
LIMIT $3
"""
TOUCHPOINTS_OF = """
SELECT customer_id, occurred_at, id, source, type, channel, flags, received_at, properties
FROM touchpoints
WHERE customer_id = ANY ($1::text[]) AND received_at <= $2
ORDER BY customer_id, occurred_at, id, source
"""


class PostgresStoredHistory:
    """Implements `simulations.StoredHistory`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def versions(self, name: str) -> list[StoredDefinition]:
        return [StoredDefinition(*row) for row in await self._pool.fetch(RUNNING_VERSIONS_OF, [name])]

    async def customers(self) -> int:
        return int(await self._pool.fetchval(CUSTOMERS))

    async def chunks(self, until: int, one_in: int = 1) -> AsyncIterator[list[CustomerTouchpoints]]:
        for row in await self._pool.fetch(PARTITIONS):
            async for keys in self._customers_of(row["partition"], one_in):
                yield await self._lives(keys, until)

    async def _customers_of(self, partition: int, one_in: int) -> AsyncIterator[list[str]]:
        """The customers of a partition, in chunks of about `TOUCHPOINTS_AT_ONCE` touchpoints."""
        after, chunk, size = "", list[str](), 0
        while rows := await self._pool.fetch(NEXT_CUSTOMERS, partition, after, _CUSTOMERS_AT_ONCE, one_in):
            after = rows[-1]["customer_id"]
            for row in rows:
                if not row["wanted"]:
                    continue
                chunk.append(row["customer_id"])
                size += row["touchpoints"]
                if size >= TOUCHPOINTS_AT_ONCE:
                    yield chunk
                    chunk, size = [], 0
        if chunk:
            yield chunk

    async def _lives(self, keys: list[str], until: int) -> list[CustomerTouchpoints]:
        lives: list[CustomerTouchpoints] = []
        for row in await self._pool.fetch(TOUCHPOINTS_OF, keys, until):
            if not lives or lives[-1].customer_id != row["customer_id"]:
                lives.append(CustomerTouchpoints(row["customer_id"], []))
            lives[-1].touchpoints.append(read_touchpoint(row))
        return lives
