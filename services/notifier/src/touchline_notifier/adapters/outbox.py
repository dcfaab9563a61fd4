"""The outbox's writing side. Call it inside the transaction that makes the events true."""

from collections.abc import Sequence
from typing import TypeAlias

import asyncpg
import orjson
from asyncpg.pool import PoolConnectionProxy

from touchline_notifier.core.outgoing import Outgoing

Connection: TypeAlias = asyncpg.Connection | PoolConnectionProxy
"""A connection, whether a pool lent it or not."""

APPEND = """
-- One row an event, in the order given: ids rise in that order, and the relay publishes by id.
INSERT INTO outbox (partition, topic, key, headers, value)
SELECT $1, event.topic, event.key, event.headers::jsonb, event.value
FROM unnest($2::text[], $3::text[], $4::text[], $5::bytea[])
     WITH ORDINALITY AS event(topic, key, headers, value, position)
ORDER BY event.position
"""


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
