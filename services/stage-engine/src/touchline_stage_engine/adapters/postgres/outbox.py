"""The outbox table: what a predecessor left unpublished is read, what is published is deleted."""

import asyncpg
import structlog
from touchline_runtime.database.faults import UNREACHABLE

from touchline_stage_engine.adapters.postgres.faults import database_faults
from touchline_stage_engine.application.outbox_records import Outgoing, unpack
from touchline_stage_engine.application.values import PartitionKey

log = structlog.get_logger(__name__)

_ROWS_AT_ONCE = 4

# The rows that hold records after an id: of the first perhaps the end alone.
OUTBOX_AFTER = """
SELECT first_id, last_id, records
FROM outbox
WHERE partition = $1 AND last_id > $2
ORDER BY last_id
LIMIT $3
"""

# What has been published may go; published is published, so this needs no fence.
CLEAR_OUTBOX = "DELETE FROM outbox WHERE partition = $1 AND last_id <= $2"

RECORD_RELAYED = """
UPDATE partitions
SET relayed_through = greatest(relayed_through, $4)
WHERE cluster_id = $1 AND topic_id = $2 AND partition = $3
"""


class PostgresOutbox:
    """One partition's outbox, over a shared pool."""

    def __init__(self, pool: asyncpg.Pool, key: PartitionKey) -> None:
        self._pool = pool
        self._key = key

    async def read_after(self, after: int, through: int) -> list[tuple[int, list[Outgoing]]]:
        """(first id, records) of the next rows after one id, of rows that end at or before another.

        Raises:
            DatabaseAwayError: the server does not answer.
        """
        with database_faults():
            rows = await self._pool.fetch(OUTBOX_AFTER, self._key.partition, after, _ROWS_AT_ONCE)
        found = []
        for row in rows:
            if row["last_id"] <= through:
                first = max(row["first_id"], after + 1)
                found.append((first, unpack(row["records"])[first - row["first_id"] :]))
        return found

    async def clear(self, through: int) -> bool:
        """Delete what is published; whether it could be done. A failure does no harm: it is deleted later."""
        key = self._key
        try:
            # One statement each, committed by itself: a process that freezes in between holds no lock.
            await self._pool.execute(CLEAR_OUTBOX, key.partition, through)
            await self._pool.execute(RECORD_RELAYED, key.cluster_id, key.topic_id, key.partition, through)
        except UNREACHABLE as error:
            log.info("outbox_not_cleared", partition=key.partition, error=str(error))
            return False
        return True
