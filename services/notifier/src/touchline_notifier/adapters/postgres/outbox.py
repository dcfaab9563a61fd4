"""The outbox: rows are written in the transaction that decides, and published after its commit."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import asyncpg
import orjson
import structlog
from asyncpg.pool import PoolConnectionProxy
from touchline_schemas.cloudevents import Headers

from touchline_notifier.adapters.postgres.partitions.lease import fence
from touchline_notifier.application.ports import PartitionLease
from touchline_notifier.core.decisions.outbox_records import Outgoing

log = structlog.get_logger(__name__)

Connection: TypeAlias = asyncpg.Connection | PoolConnectionProxy
"""A connection, whether a pool lent it or not."""

APPEND = """
-- One row an event, in the order given: ids rise in that order, and the publisher takes them by id.
INSERT INTO outbox (partition, topic, key, headers, value)
SELECT $1, event.topic, event.key, event.headers::jsonb, event.value
FROM unnest($2::text[], $3::text[], $4::text[], $5::bytea[])
     WITH ORDINALITY AS event(topic, key, headers, value, position)
ORDER BY event.position
"""


FENCE = """
-- No row: another process owns the partition.
SELECT last_publish_no FROM positions WHERE stream = $1 AND partition = $2 AND epoch = $3 FOR UPDATE
"""

NUMBER = """
-- Number what has none yet, in the order of writing. Rows that commit later are numbered later.
WITH fresh AS (
    SELECT id, row_number() OVER (ORDER BY id) AS position
    FROM outbox
    WHERE partition = $1 AND publish_no IS NULL
    ORDER BY id
    LIMIT $3
)
UPDATE outbox SET publish_no = $2 + fresh.position FROM fresh WHERE outbox.id = fresh.id
"""

RAISE_LAST = """
UPDATE positions
SET last_publish_no = greatest(last_publish_no,
                               (SELECT coalesce(max(publish_no), 0) FROM outbox WHERE partition = $2))
WHERE stream = $1 AND partition = $2
"""

CATCH_UP = """
-- A database restored from a backup counts from where it was then: the topics may be further.
UPDATE positions SET last_publish_no = $3 WHERE stream = $1 AND partition = $2 AND last_publish_no < $3
RETURNING 1
"""

NUMBERED = """
SELECT topic, key, headers, value, publish_no
FROM outbox
WHERE partition = $1 AND publish_no IS NOT NULL
ORDER BY publish_no
"""

PUBLISHED = "DELETE FROM outbox WHERE partition = $1 AND publish_no <= $2"

FILLED = "SELECT DISTINCT partition FROM outbox WHERE partition = ANY($1)"


async def append(connection: Connection, partition: int, events: Sequence[Outgoing]) -> None:
    """Add events of customers of one partition."""
    if not events:
        return
    await connection.execute(
        APPEND,
        partition,
        [event.topic for event in events],
        [event.key for event in events],
        [orjson.dumps([[name, value.decode()] for name, value in event.headers]).decode() for event in events],
        [event.value for event in events],
    )


class OutboxRow(NamedTuple):
    """A numbered row. ``topic`` is its name in the topic registry, without prefix and version."""

    topic: str
    key: bytes
    headers: Headers
    value: bytes
    number: int


class OutboxRows:
    """One partition's rows, for its publisher. Every write proves that the lease is still held."""

    def __init__(self, connection: asyncpg.Connection, lease: PartitionLease) -> None:
        self._connection = connection
        self._lease = lease

    async def number(self, at_most: int) -> None:
        """Number rows that have no number yet, in the order in which they were written.

        Raises:
            FencedError: another process owns the partition.
        """
        async with self._connection.transaction():
            last = await self._fence()
            await self._connection.execute(NUMBER, self._lease.partition, last, at_most)
            await self._connection.execute(RAISE_LAST, self._lease.stream, self._lease.partition)

    async def numbered(self) -> list[OutboxRow]:
        """Rows that have a number, in its order."""
        rows = await self._connection.fetch(NUMBERED, self._lease.partition)
        return [
            OutboxRow(
                row["topic"],
                row["key"].encode(),
                [(name, value.encode()) for name, value in orjson.loads(row["headers"])],
                row["value"],
                row["publish_no"],
            )
            for row in rows
        ]

    async def delete_through(self, number: int) -> None:
        """Delete published rows, and go on counting from there.

        Raises:
            FencedError: another process owns the partition.
        """
        lease = self._lease
        async with self._connection.transaction():
            await self._fence()
            await self._connection.execute(PUBLISHED, lease.partition, number)
            if await self._connection.fetchval(CATCH_UP, lease.stream, lease.partition, number):
                log.warning("outbox_renumbered", partition=lease.partition, published=number)

    async def _fence(self) -> int:
        """Prove ownership and lock the position; the last number."""
        return int(await fence(self._lease).fenced(self._connection, FENCE))
