"""A customer's touchpoints and history, touchpoints by id, and links that were refused."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from touchline_schemas.partitions import partition_of
from touchline_schemas.times import from_micros, to_wire

from touchline_stage_engine.adapters.decoding import touchpoint_hash
from touchline_stage_engine.adapters.reads.pages import Page, decode_cursor, page_of

MACHINE, BACKFILL, OUTBOUND, NO_DIRECTION = 1, 2, 4, 8
"""Bits of a stored touchpoint's flags."""

# Who a key's touchpoints belong to: the key itself, or whom it was merged into.
WHO = text("SELECT merged_into FROM customers WHERE partition = :partition AND customer_id = :key")

# A customer's touchpoints in the order of the fold.
TOUCHPOINTS = text("""
    SELECT id, source, type, channel, flags, occurred_at, received_at, properties, original_key
    FROM touchpoints
    WHERE customer_id = :customer_id
      AND (CAST(:at AS bigint) IS NULL OR (occurred_at, id, source) > (:at, CAST(:id AS text) COLLATE "C", :source))
    ORDER BY occurred_at, id, source
    LIMIT :limit
""")

# A customer's canonical history: moves alone, or stalls and recoveries too.
HISTORY = text("""
    SELECT lifecycle, no, fact, sequence, occurred_at, version, stage, from_stage, move, reason_kind, reason_text,
           touchpoint_id, previous_stage_seconds, level, since, stalled_seconds, backfill
    FROM history
    WHERE customer_id = :customer_id
      AND (CAST(:lifecycle AS text) IS NULL OR lifecycle = :lifecycle)
      AND (:everything OR fact = 'move')
      AND (CAST(:at AS bigint) IS NULL
           OR (occurred_at, lifecycle, no) > (:at, CAST(:after AS text), CAST(:no AS bigint)))
    ORDER BY occurred_at, lifecycle, no
    LIMIT :limit
""")

# A touchpoint by (source, id), whoever has it: its own key's copy, and the customer's it was handed to.
TOUCHPOINT = text("""
    SELECT customer_id, type, channel, occurred_at, received_at, original_key
    FROM touchpoints
    WHERE hash = :hash AND source = :source AND id = :id
    ORDER BY original_key NULLS FIRST, customer_id
""")

# What else became of it: how often it came again, and why it was refused.
FATES = text("SELECT fate, times, reason, error, origin FROM fates WHERE hash = :hash")

# Refused links, the least one a pair of customers, as the lesser of its two ends tells it.
CONFLICTS = text("""
    SELECT customer_a, customer_b, key, other, occurred_at, touchpoint_id, source
    FROM (
        SELECT DISTINCT ON (customer_a, customer_b) *
        FROM identity_conflicts
        ORDER BY customer_a, customer_b, occurred_at, touchpoint_id, source, key, other
    ) AS pairs
    WHERE CAST(:a AS text) IS NULL OR (customer_a, customer_b) > (CAST(:a AS text) COLLATE "C", :b)
    ORDER BY customer_a, customer_b
    LIMIT :limit
""")


class CustomerReads:
    """Queries about one customer, over SQLAlchemy. Customers are found by partition, so their number is needed."""

    def __init__(self, engine: AsyncEngine, partitions: int) -> None:
        self._engine = engine
        self._partitions = partitions

    async def who(self, key: str) -> str | None:
        """The customer a key belongs to; None for a key nobody has seen."""
        rows = await self._rows(WHO, key=key, partition=partition_of(key, self._partitions))
        return (rows[0]["merged_into"] or key) if rows else None

    async def touchpoints(self, customer_id: str, limit: int, cursor: str | None) -> Page:
        """The touchpoints of a customer in the order they are folded."""
        at, id_, source = decode_cursor(cursor, int, str, str) or (None, None, None)
        rows = await self._rows(TOUCHPOINTS, customer_id=customer_id, at=at, id=id_, source=source, limit=limit + 1)
        items = [
            {
                "id": row["id"],
                "source": row["source"],
                "type": row["type"],
                "channel": row["channel"],
                "direction": "outbound" if row["flags"] & OUTBOUND else "inbound",
                "occurred_at": _time(row["occurred_at"]),
                "received_at": _time(row["received_at"]),
                "properties": row["properties"],
                "machine": bool(row["flags"] & MACHINE),
                "backfill": bool(row["flags"] & BACKFILL),
                "original_key": row["original_key"],
                "_at": row["occurred_at"],
                "_id": row["id"],
                "_source": row["source"],
            }
            for row in rows
        ]
        return page_of(items, limit, ("_at", "_id", "_source"))

    async def history(
        self, customer_id: str, lifecycle: str | None, everything: bool, limit: int, cursor: str | None
    ) -> Page:
        """The canonical moves of a customer (with ``everything``: stalls and recoveries too), oldest first."""
        at, after, no = decode_cursor(cursor, int, str, int) or (None, None, None)
        rows = await self._rows(
            HISTORY, customer_id=customer_id, lifecycle=lifecycle, everything=everything, at=at, after=after, no=no,
            limit=limit + 1,
        )  # fmt: skip
        items = [
            _told(row) | {"_at": row["occurred_at"], "_lifecycle": row["lifecycle"], "_no": row["no"]} for row in rows
        ]
        return page_of(items, limit, ("_at", "_lifecycle", "_no"))

    async def touchpoint(self, source: str, id: str) -> list[dict[str, Any]]:  # noqa: A002
        """Where a touchpoint is filed: no row, or one for each key and customer that has it."""
        rows = await self._rows(TOUCHPOINT, hash=touchpoint_hash(source, id), source=source, id=id)
        return [
            {
                "customer_id": row["customer_id"],
                "merged_into": None if (owner := await self.who(row["customer_id"])) == row["customer_id"] else owner,
                "original_key": row["original_key"],
                "type": row["type"],
                "channel": row["channel"],
                "occurred_at": _time(row["occurred_at"]),
                "received_at": _time(row["received_at"]),
            }
            for row in rows
        ]

    async def fates(self, source: str, id: str) -> dict[str, dict[str, Any]]:  # noqa: A002
        """What was noted of a touchpoint that came and was not folded: duplicate, conflict, refused, erased."""
        return {row["fate"]: row for row in await self._rows(FATES, hash=touchpoint_hash(source, id))}

    async def conflicts(self, limit: int, cursor: str | None) -> Page:
        """Pairs of known customers that a link would have joined, one row a pair."""
        a, b = decode_cursor(cursor, str, str) or (None, None)
        rows = await self._rows(CONFLICTS, a=a, b=b, limit=limit + 1)
        items = [
            {
                "customers": [row["customer_a"], row["customer_b"]],
                "link": [row["key"], row["other"]],
                "occurred_at": _time(row["occurred_at"]),
                "touchpoint_id": row["touchpoint_id"],
                "source": row["source"],
                "_a": row["customer_a"],
                "_b": row["customer_b"],
            }
            for row in rows
        ]
        return page_of(items, limit, ("_a", "_b"))

    async def _rows(self, statement: Any, **parameters: Any) -> list[dict[str, Any]]:
        async with self._engine.connect() as connection:
            result = await connection.execute(statement, parameters)
            return [dict(row) for row in result.mappings()]


def _time(micros: int) -> str:
    return to_wire(from_micros(micros))


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """One line of history as the API tells it."""
    common = {
        "lifecycle": row["lifecycle"],
        "fact": row["fact"],
        "sequence": row["sequence"],
        "occurred_at": _time(row["occurred_at"]),
        "lifecycle_version": row["version"],
        "backfill": row["backfill"],
    }
    if row["fact"] == "move":
        reason = {"kind": row["reason_kind"], "text": row["reason_text"], "touchpoint_id": row["touchpoint_id"]}
        return common | {
            "move": row["move"],
            "from_stage": row["from_stage"],
            "to_stage": row["stage"],
            "reason": reason,
            "previous_stage_seconds": row["previous_stage_seconds"],
        }
    if row["fact"] == "stall":
        return common | {"stage": row["stage"], "level": row["level"], "since": _time(row["since"])}
    return common | {
        "stage": row["stage"],
        "stalled_seconds": row["stalled_seconds"],
        "touchpoint_id": row["touchpoint_id"],
    }
