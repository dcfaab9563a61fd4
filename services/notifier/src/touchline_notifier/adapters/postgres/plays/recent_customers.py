"""Customers to try templates with: those whom actions were about lately."""

from collections.abc import Sequence
from datetime import UTC, datetime

import asyncpg

from touchline_notifier.adapters.postgres.outbox import Connection
from touchline_notifier.adapters.postgres.transaction import PostgresTransaction
from touchline_notifier.core.decisions.customer_history import CustomerHistory
from touchline_notifier.core.profiles.address_hashes import Hashes

OF_ACTIONS = """
-- By an index: the newest decisions, each customer once.
SELECT customer_id
FROM (SELECT customer_id, decided_at FROM actions ORDER BY decided_at DESC, action_id DESC LIMIT 500) newest
GROUP BY customer_id
ORDER BY max(decided_at) DESC, customer_id
LIMIT $1
"""

OF_PROFILES = """
-- No index orders profiles by time, so that a touchpoint costs no write to one: the newest of a limited number.
SELECT customer_id
FROM (SELECT customer_id, updated_at FROM profiles LIMIT 10000) known
ORDER BY updated_at DESC, customer_id
LIMIT $1
"""

KNOWN = """
SELECT customer_id
FROM profiles
WHERE customer_id = coalesce((SELECT customer_id FROM aliases WHERE old_key = $1), $1)
"""


class PostgresRecentCustomers:
    """Implements :class:`~touchline_notifier.application.plays.ports.RecentCustomers`."""

    def __init__(self, pool: asyncpg.Pool, hashes: Hashes) -> None:
        self._pool = pool
        self._hashes = hashes

    async def recent(self, at_most: int) -> list[CustomerHistory]:
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(OF_ACTIONS, at_most)
            if len(rows) < at_most:
                rows += await connection.fetch(OF_PROFILES, at_most)
            ids = list(dict.fromkeys(row["customer_id"] for row in rows))[:at_most]
            return await self._histories(connection, ids)

    async def find(self, customer_id: str) -> CustomerHistory | None:
        async with self._pool.acquire() as connection:
            row = await connection.fetchrow(KNOWN, customer_id)
            return None if row is None else (await self._histories(connection, [row["customer_id"]]))[0]

    async def _histories(self, connection: Connection, ids: Sequence[str]) -> list[CustomerHistory]:
        # Partitions matter for writes alone.
        actions = PostgresTransaction(connection, self._hashes, 1).actions
        histories = await actions.histories(ids, datetime.now(UTC), counted_since=None)
        return [histories[customer_id] for customer_id in ids]
