"""Erased keys and erasure receipts in PostgreSQL."""

from collections.abc import Sequence

import asyncpg
import orjson

from touchline_stage_engine.application.values import ErasureReceipt, ErasureRecord

FIND_ERASURES = """
SELECT key_hash, erased_at, incarnation, merges
FROM erasures
WHERE partition = $1 AND key_hash = ANY ($2::bytea[])
"""

ANY_ERASURES = "SELECT EXISTS (SELECT FROM erasures WHERE partition = $1)"

REMEMBER_ERASURE = """
INSERT INTO erasures (partition, key_hash, erased_at, incarnation, merges)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (partition, key_hash) DO UPDATE SET
    erased_at = greatest(erasures.erased_at, excluded.erased_at),
    incarnation = greatest(erasures.incarnation, excluded.incarnation),
    merges = greatest(erasures.merges, excluded.merges)
"""

# Of an erasure. One that is dated ahead of the clock was received before it. Counts those that are not an alias's: the
# alias has them too.
DELETE_TOUCHPOINTS_BEFORE = """
WITH gone AS (
    DELETE FROM touchpoints
    WHERE customer_id = $1 AND (occurred_at < $2 OR received_at < $2)
    RETURNING original_key
)
SELECT count(*) FILTER (WHERE original_key IS NULL)
FROM gone
"""

# Everything that names a customer; the partition's owner runs each with the key. Conflicts that other keys list are
# theirs to write: they get a message to forget the link.
ERASE = {
    # Written in the background: a refresh that is under way may write them once more, and removes them a moment later.
    "customer_summaries": "DELETE FROM customer_summaries WHERE customer_id = $1",
    "customer_terms": "DELETE FROM customer_terms WHERE customer_id = $1",
    "simulated_changes": "DELETE FROM simulated_changes WHERE customer_id = $1",
    "audience_members": "DELETE FROM audience_members WHERE customer_id = $1",
    "copies": "DELETE FROM copies WHERE customer_id = $1",
    "history": "DELETE FROM history WHERE customer_id = $1",
    "checkpoints": "DELETE FROM checkpoints WHERE customer_id = $1",
    "stages": "DELETE FROM stages WHERE customer_id = $1",
    "aliases": "DELETE FROM aliases WHERE customer_id = $1",
    "links": "DELETE FROM links WHERE key = $1",
    "shared_keys": "DELETE FROM shared_keys WHERE key = $1",
    "identity_conflicts": "DELETE FROM identity_conflicts WHERE key = $1",
    "customers": "DELETE FROM customers WHERE partition = $2 AND customer_id = $1",
}

SAVE_ERASURE_RECEIPT = """
INSERT INTO erasure_receipts (receipt, key_hash, partition, times, asked, erased_at, done_at, removed)
VALUES ($1, $2, $3, 1, $4, $5, $6, $7::json)
ON CONFLICT (receipt, key_hash) DO UPDATE SET
    times = erasure_receipts.times + 1,
    asked = erasure_receipts.asked + excluded.asked,
    done_at = excluded.done_at,
    removed = CASE WHEN erasure_receipts.removed::text = '{}' THEN excluded.removed ELSE erasure_receipts.removed END
"""


class PostgresErasures:
    """Implements `ports.ErasureTable`."""

    def __init__(self, connection: asyncpg.Connection, partition: int) -> None:
        self._connection = connection
        self._partition = partition

    async def has_any(self) -> bool:
        return bool(await self._connection.fetchval(ANY_ERASURES, self._partition))

    async def find(self, key_hashes: Sequence[bytes]) -> dict[bytes, ErasureRecord]:
        rows = await self._connection.fetch(FIND_ERASURES, self._partition, key_hashes)
        return {row["key_hash"]: ErasureRecord(row["erased_at"], row["incarnation"], row["merges"]) for row in rows}

    async def delete_customer(self, key: str, erased_at: int) -> dict[str, int]:
        removed = {"touchpoints": await self._connection.fetchval(DELETE_TOUCHPOINTS_BEFORE, key, erased_at)}
        for table, statement in ERASE.items():
            arguments = (key, self._partition) if "$2" in statement else (key,)
            # "DELETE 3"
            removed[table] = int((await self._connection.execute(statement, *arguments)).rpartition(" ")[2])
        return removed

    async def remember(self, key_hash: bytes, record: ErasureRecord) -> None:
        await self._connection.execute(REMEMBER_ERASURE, self._partition, key_hash, *record)

    async def save_receipt(self, receipt: ErasureReceipt) -> None:
        await self._connection.execute(
            SAVE_ERASURE_RECEIPT, receipt.receipt, receipt.key_hash, self._partition, receipt.asked,
            receipt.erased_at, receipt.done_at, orjson.dumps(receipt.removed).decode(),
        )  # fmt: skip
