"""Deletes finished actions and deliveries, some at a time. Rows that another process is deleting are left to it."""

from datetime import datetime

import asyncpg
from touchline_runtime.database.faults import UNREACHABLE
from touchline_runtime.errors import Unavailable

DELETE_DELIVERIES = """
-- Attempts go with their delivery. The index deliveries_newest gives the oldest first.
DELETE FROM deliveries
WHERE id IN (
    SELECT id FROM deliveries
    WHERE created_at < $1 AND finished_at < $1 AND status IN ('sent', 'failed', 'cancelled')
    ORDER BY created_at, id
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
"""

DELETE_ACTIONS = """
-- Neither those that wait for a decision nor those whose delivery is not finished.
DELETE FROM actions
WHERE action_id IN (
    SELECT action_id FROM actions a
    WHERE decided_at < $1
      AND decide_at IS NULL
      AND (finished_at IS NULL OR finished_at < $1)
      AND NOT EXISTS (
          SELECT FROM deliveries d WHERE d.action_id = a.action_id AND d.status IN ('pending', 'delivering')
      )
    ORDER BY decided_at, action_id
    LIMIT $2
    FOR UPDATE OF a SKIP LOCKED
)
"""


DELETE_RUNS = """
-- Their visits and touchpoints go with them. Definitions are few, and stay.
DELETE FROM sequence_runs
WHERE run_id IN (
    SELECT run_id FROM sequence_runs WHERE ended_at < $1 ORDER BY ended_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
"""


class PostgresFinishedRows:
    """Implements ``application.retention.FinishedRows``."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def delete_deliveries(self, before: datetime, at_most: int) -> int:
        """Delete deliveries that ended before an instant, with their attempts."""
        return await self._deleted(DELETE_DELIVERIES, before, at_most)

    async def delete_actions(self, before: datetime, at_most: int) -> int:
        """Delete actions that were last decided before an instant, with their deliveries."""
        return await self._deleted(DELETE_ACTIONS, before, at_most)

    async def delete_runs(self, before: datetime, at_most: int) -> int:
        """Delete runs of sequences that ended before an instant."""
        return await self._deleted(DELETE_RUNS, before, at_most)

    async def _deleted(self, statement: str, before: datetime, at_most: int) -> int:
        try:
            status = await self._pool.execute(statement, before, at_most)
        except (*UNREACHABLE, asyncpg.PostgresError) as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from error
        return int(status.removeprefix("DELETE "))
