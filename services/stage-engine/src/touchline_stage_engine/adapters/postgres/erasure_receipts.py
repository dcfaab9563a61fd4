"""What is known of a key before it is erased, and what a requested erasure has removed. Reads only."""

import asyncio
import hashlib
import hmac
from uuid import UUID

import asyncpg
from touchline_schemas.identity import customer_key
from touchline_schemas.partitions import partition_of

from touchline_stage_engine.adapters.postgres.deployment import check_deployment
from touchline_stage_engine.application.queries.values import ErasureProgress, KnownKey
from touchline_stage_engine.settings import StageEngineSettings

FIND_KEY = "SELECT EXISTS (SELECT FROM customers WHERE partition = $1 AND customer_id = $2)"

FIND_ERASURE = "SELECT erased_at FROM erasures WHERE partition = $1 AND key_hash = $2"

PROGRESS = """
SELECT count(*) FILTER (WHERE removed::text <> '{}') AS keys,
       coalesce(sum(times), 0) AS erased, coalesce(sum(asked), 0) AS asked,
       min(erased_at) AS erased_at, max(done_at) AS done_at
FROM erasure_receipts
WHERE receipt = $1
"""

REMOVED = """
SELECT table_name, sum(CAST(number AS bigint))::bigint AS rows
FROM erasure_receipts
CROSS JOIN LATERAL json_each_text(removed) AS r (table_name, number)
WHERE receipt = $1
GROUP BY table_name
"""

_LOOK_EVERY = 0.2


async def find_key(pool: asyncpg.Pool, settings: StageEngineSettings, customer_id: str) -> KnownKey:
    """What is known of a customer id, or of any key or alias."""
    key = customer_key(customer_id)
    partition = partition_of(key, settings.partitions)
    secret = await check_deployment(pool, settings)
    key_hash = hmac.digest(secret, key.encode(), hashlib.sha256)
    return KnownKey(
        await pool.fetchval(FIND_KEY, partition, key), await pool.fetchval(FIND_ERASURE, partition, key_hash)
    )


async def progress(pool: asyncpg.Pool, receipt: UUID) -> ErasureProgress:
    """What an erasure has removed so far."""
    row = await pool.fetchrow(PROGRESS, receipt)
    assert row is not None, "an aggregate has a row"
    removed = {one["table_name"]: one["rows"] for one in await pool.fetch(REMOVED, receipt)}
    return ErasureProgress(row["keys"], row["erased"] > row["asked"], removed, row["erased_at"])


async def wait_until_erased(pool: asyncpg.Pool, receipt: UUID, seconds: float) -> ErasureProgress:
    """Wait until an erasure is complete, or the time is up; what it has removed by then."""
    try:
        async with asyncio.timeout(seconds):
            # Another process writes the table.
            while not (found := await progress(pool, receipt)).complete:  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_EVERY)
            return found
    except TimeoutError:
        return await progress(pool, receipt)
