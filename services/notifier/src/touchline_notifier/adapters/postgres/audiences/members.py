"""Members of audiences in PostgreSQL, with a time limit on every access."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg
from touchline_runtime.database.faults import UNREACHABLE
from touchline_runtime.errors import Unavailable

from touchline_notifier.adapters.postgres.outbox import Connection
from touchline_notifier.adapters.postgres.transaction import PostgresTransaction
from touchline_notifier.core.audiences.changes import MembershipChange, latest
from touchline_notifier.core.decisions.outbox_records import Outgoing
from touchline_notifier.core.delivery.subscriptions import Planned
from touchline_notifier.core.profiles.address_hashes import Hashes

_TIMEOUT_SECONDS = 30.0

POSITIONS = """
SELECT partition, next_offset FROM audience_positions WHERE stream = $1 AND topic_id = $2 AND partition = ANY($3)
"""

MOVE = """
-- No row: another process has moved it.
INSERT INTO audience_positions AS stored (stream, partition, topic_id, next_offset)
VALUES ($1, $2, $3, $5)
ON CONFLICT (stream, partition) DO UPDATE SET topic_id = excluded.topic_id, next_offset = excluded.next_offset
WHERE CASE WHEN stored.topic_id = excluded.topic_id THEN stored.next_offset = $4 ELSE $4 = 0 END
RETURNING 1
"""

ENTERED = """
INSERT INTO audience_members (customer_id, audience, since)
SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[])
ON CONFLICT (customer_id, audience) DO UPDATE SET since = excluded.since
"""

LEFT = """
DELETE FROM audience_members AS member
USING unnest($1::text[], $2::text[]) AS gone(customer_id, audience)
WHERE member.customer_id = gone.customer_id AND member.audience = gone.audience
"""


class PostgresAudiences:
    """Implements :class:`~touchline_notifier.application.audiences.AudienceStore`.

    Args:
        stream, topic_id: what positions are valid for.
    """

    def __init__(self, pool: asyncpg.Pool, hashes: Hashes, partitions: int, stream: str, topic_id: str) -> None:
        self._pool = pool
        self._hashes = hashes
        self._partitions = partitions
        self._stream = stream
        self._topic_id = topic_id

    async def positions(self, partitions: Sequence[int]) -> dict[int, int]:
        async with self._connection() as connection:
            rows = await connection.fetch(POSITIONS, self._stream, self._topic_id, list(partitions))
        return dict.fromkeys(partitions, 0) | {row["partition"]: row["next_offset"] for row in rows}

    async def write(
        self,
        partition: int,
        changes: Sequence[MembershipChange],
        planned: Sequence[Planned],
        dead_letters: Sequence[Outgoing],
        *,
        expected: int,
        next_offset: int,
        now: datetime,
    ) -> bool:
        async with self._connection() as connection, connection.transaction():
            if not await connection.fetchval(MOVE, self._stream, partition, self._topic_id, expected, next_offset):
                return False
            final = latest(changes)
            entered = [change for change in final if change.entered]
            left = [change for change in final if not change.entered]
            if entered:
                columns = zip(*((one.customer_id, one.audience, one.at) for one in entered), strict=True)
                await connection.execute(ENTERED, *(list(column) for column in columns))
            if left:
                columns = zip(*((one.customer_id, one.audience) for one in left), strict=True)
                await connection.execute(LEFT, *(list(column) for column in columns))
            transaction = PostgresTransaction(connection, self._hashes, self._partitions)
            await transaction.add_deliveries(partition, planned, due=now, now=now)
            await transaction.append_outbox(partition, dead_letters)
        return True

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS), self._pool.acquire() as connection:
                yield connection
        except UNREACHABLE as error:
            raise Unavailable(f"the database does not answer: {type(error).__name__}") from None
