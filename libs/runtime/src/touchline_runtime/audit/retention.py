"""Deletes entries of the audit log that are older than they are kept."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg

from touchline_runtime.database.faults import UNREACHABLE
from touchline_runtime.database.retention import AT_ONCE, delete_in_pieces, keep_deleting
from touchline_runtime.errors import Unavailable

# The trigger that keeps the log append-only lets this transaction delete.
ALLOW_DELETE = "SELECT set_config('touchline.audit_retention', 'on', true)"

DELETE_ENTRIES = """
-- Ids rise with time, so the oldest are found by the primary key alone.
DELETE FROM audit_log
WHERE id IN (
    SELECT id
    FROM (SELECT id, at FROM audit_log ORDER BY id LIMIT $2) AS oldest
    WHERE at < $1
)
"""


class AuditRetention:
    """A component of a service with an audit log. Several processes share the work.

    Args:
        kept_days: how long entries are kept; None: for ever.
    """

    name = "audit retention"

    def __init__(self, pool: asyncpg.Pool, kept_days: int | None) -> None:
        self._pool = pool
        self._kept_days = kept_days

    async def run(self, stopping: asyncio.Event) -> None:
        """Delete what is old every ten minutes, until told to stop."""
        if self._kept_days is None:
            await stopping.wait()
            return
        await keep_deleting(lambda: self.delete_old(datetime.now(UTC), stopping), stopping)

    async def delete_old(self, now: datetime, stopping: asyncio.Event) -> None:
        """Delete everything that is old now, or as much as there is time for.

        Raises:
            Unavailable: PostgreSQL is away, or refuses.
        """
        if self._kept_days is not None:
            before = now - timedelta(days=self._kept_days)
            await delete_in_pieces("audit_log", lambda: self._delete(before), stopping)

    async def _delete(self, before: datetime) -> int:
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(ALLOW_DELETE)
                status = await connection.execute(DELETE_ENTRIES, before, AT_ONCE)
        except (*UNREACHABLE, asyncpg.PostgresError) as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from error
        return int(status.removeprefix("DELETE "))
