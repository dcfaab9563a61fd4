"""The outbox's writing side. Call it inside the transaction that makes the events true."""

from collections.abc import Sequence

import asyncpg
import orjson

from touchline_notifier.core.outgoing import Outgoing

APPEND = """
-- One row an event, in the order given: ids rise in that order, and the relay publishes by id.
INSERT INTO notifier.outbox (partition, topic, key, headers, value)
SELECT $1, event.topic, event.key, event.headers, event.value
FROM unnest($2::text[], $3::text[], $4::jsonb[], $5::bytea[])
     WITH ORDINALITY AS event(topic, key, headers, value, position)
ORDER BY event.position
"""


async def append(connection: asyncpg.Connection, partition: int, events: Sequence[Outgoing]) -> None:
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
