"""Read a customer's touchpoints and history, touchpoints by id, and identity conflicts."""

from typing import Any

from sqlalchemy import text
from touchline_schemas.partitions import partition_of

from touchline_stage_engine.adapters.postgres.reads.pages import decode_cursor, page_of
from touchline_stage_engine.adapters.postgres.reads.statements import Reads, wire_time
from touchline_stage_engine.application.queries.values import Page
from touchline_stage_engine.core.decoding import touchpoint_hash

MACHINE, BACKFILL, OUTBOUND, NO_DIRECTION = 1, 2, 4, 8
"""Bits of a stored touchpoint's flags."""
SHARED_KEY, REFUSED_LINK = "shared-key", "refused-link"

# The customer that a key belongs to: the key itself, or the customer that it was merged into.
OWNER = text("""
    SELECT merged_into
    FROM customers
    WHERE partition = :partition AND customer_id = :key AND (touchpoints > 0 OR merged_into IS NOT NULL)
""")

# A customer's touchpoints in the order of the fold.
TOUCHPOINTS = text("""
    SELECT id, source, type, channel, flags, occurred_at, received_at, properties, original_key
    FROM touchpoints
    WHERE customer_id = :customer_id
      AND occurred_at >= coalesce(CAST(:at AS bigint), -4611686018427387904)
      AND (occurred_at, id, source) > (
          coalesce(CAST(:at AS bigint), -4611686018427387904), coalesce(CAST(:id AS text), '') COLLATE "C",
          coalesce(CAST(:source AS text), '') COLLATE "C"
      )
    ORDER BY occurred_at, id, source
    LIMIT :limit
""")

# A customer's canonical history: only moves, or all facts.
HISTORY = text("""
    SELECT lifecycle, no, fact, sequence, occurred_at, version, stage, from_stage, move, reason_kind, reason_text,
           touchpoint_id, previous_stage_seconds, level, since, stalled_seconds, backfill
    FROM history
    WHERE customer_id = :customer_id
      AND (CAST(:lifecycle AS text) IS NULL OR lifecycle = :lifecycle)
      AND (:everything OR fact = 'move')
      AND occurred_at >= coalesce(CAST(:at AS bigint), -4611686018427387904)
      AND (occurred_at, lifecycle, no) > (
          coalesce(CAST(:at AS bigint), -4611686018427387904), coalesce(CAST(:after AS text), ''),
          coalesce(CAST(:no AS bigint), 0)
      )
    ORDER BY occurred_at, lifecycle, no
    LIMIT :limit
""")

LIFECYCLES = text("SELECT DISTINCT name FROM lifecycles ORDER BY name")

# The copies of a touchpoint by (source, id): under its own key, and under the customer that it was moved to.
TOUCHPOINT = text("""
    SELECT customer_id, type, channel, occurred_at, received_at, original_key
    FROM touchpoints
    WHERE hash = :hash AND source = :source AND id = :id
    ORDER BY original_key NULLS FIRST, customer_id
""")

# Other outcomes of a touchpoint: duplicates, conflicts, and the reason of a refusal.
OUTCOMES = text("""
    SELECT outcome, sum(times) AS times, (array_agg(reason ORDER BY at DESC))[1] AS reason,
           (array_agg(fields ORDER BY at DESC))[1] AS fields, (array_agg(origin ORDER BY at DESC))[1] AS origin
    FROM touchpoint_outcomes
    WHERE hash = :hash
    GROUP BY outcome
""")

# Refused links, one for each pair of customers: the least, as reported by the lesser of its ends.
CONFLICTS = text("""
    WITH RECURSIVE pairs AS (
        (
            SELECT 1 AS no, c.*
            FROM identity_conflicts c
            WHERE (customer_a, customer_b) > (
                coalesce(CAST(:a AS text), '') COLLATE "C", coalesce(CAST(:b AS text), '') COLLATE "C"
            )
            ORDER BY customer_a, customer_b, occurred_at, touchpoint_id, source, key, other
            LIMIT 1
        )
        UNION ALL
        SELECT p.no + 1, following.*
        FROM pairs p
        CROSS JOIN LATERAL (
            SELECT c.*
            FROM identity_conflicts c
            WHERE (c.customer_a, c.customer_b) > (p.customer_a, p.customer_b)
            ORDER BY c.customer_a, c.customer_b, c.occurred_at, c.touchpoint_id, c.source, c.key, c.other
            LIMIT 1
        ) AS following
        WHERE p.no < CAST(:limit AS integer)
    )
    SELECT customer_a, customer_b, key, other, occurred_at, touchpoint_id, source
    FROM pairs
    ORDER BY no
""")


# Shared keys: none of their links count.
SHARED_KEYS = text("""
    SELECT key, keys, since
    FROM shared_keys
    WHERE CAST(:key AS text) IS NULL OR key > CAST(:key AS text) COLLATE "C"
    ORDER BY key
    LIMIT :limit
""")


class CustomerHistoryReads(Reads):
    """Implements the port `CustomerHistoryQueries`."""

    async def owner_of(self, key: str) -> str | None:
        """The customer that a key belongs to; None when no touchpoint has that key."""
        rows = await self._rows(OWNER, key=key, partition=partition_of(key, self._partitions))
        return (rows[0]["merged_into"] or key) if rows else None

    async def touchpoints(self, customer_id: str, limit: int, cursor: str | None) -> Page:
        """The touchpoints of a customer, in the order of the fold."""
        at, id_, source = decode_cursor(cursor, int, str, str) or (None, None, None)
        rows = await self._rows(TOUCHPOINTS, customer_id=customer_id, at=at, id=id_, source=source, limit=limit + 1)
        items = [
            {
                "id": row["id"],
                "source": row["source"],
                "type": row["type"],
                "channel": row["channel"],
                "direction": "outbound" if row["flags"] & OUTBOUND else "inbound",
                "occurred_at": wire_time(row["occurred_at"]),
                "received_at": wire_time(row["received_at"]),
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
        """The moves of a customer, oldest first; with ``everything``, stalls and recoveries too."""
        at, after, no = decode_cursor(cursor, int, str, int) or (None, None, None)
        rows = await self._rows(
            HISTORY, customer_id=customer_id, lifecycle=lifecycle, everything=everything, at=at, after=after, no=no,
            limit=limit + 1,
        )  # fmt: skip
        items = [
            _fact(row) | {"_at": row["occurred_at"], "_lifecycle": row["lifecycle"], "_no": row["no"]} for row in rows
        ]
        return page_of(items, limit, ("_at", "_lifecycle", "_no"))

    async def lifecycles(self) -> list[str]:
        """The names of all lifecycles that ever ran."""
        return [row["name"] for row in await self._rows(LIFECYCLES)]

    async def touchpoint(self, source: str, id: str) -> list[dict[str, Any]]:  # noqa: A002
        """The stored copies of a touchpoint, one for each key and customer that has it."""
        rows = await self._rows(TOUCHPOINT, hash=touchpoint_hash(source, id), source=source, id=id)
        return [
            {
                "customer_id": row["customer_id"],
                "merged_into": None
                if (owner := await self.owner_of(row["customer_id"])) == row["customer_id"]
                else owner,
                "original_key": row["original_key"],
                "type": row["type"],
                "channel": row["channel"],
                "occurred_at": wire_time(row["occurred_at"]),
                "received_at": wire_time(row["received_at"]),
            }
            for row in rows
        ]

    async def outcomes(self, source: str, id: str) -> dict[str, dict[str, Any]]:  # noqa: A002
        """Outcome (duplicate, conflict, refused, erased) → what was recorded about a touchpoint."""
        return {row["outcome"]: row for row in await self._rows(OUTCOMES, hash=touchpoint_hash(source, id))}

    async def conflicts(self, limit: int, cursor: str | None) -> Page:
        """Shared keys by key, then pairs of known customers that a refused link would have merged."""
        kind, a, b = decode_cursor(cursor, str, str, str) or (SHARED_KEY, None, None)
        items: list[dict[str, Any]] = []
        if kind == SHARED_KEY:
            items = [
                {
                    "kind": SHARED_KEY,
                    "customers": [],
                    "link": [],
                    "key": row["key"],
                    "named_with": row["keys"],
                    "occurred_at": wire_time(row["since"]),
                    "touchpoint_id": None,
                    "source": None,
                    "_kind": SHARED_KEY,
                    "_a": row["key"],
                    "_b": "",
                }
                for row in await self._rows(SHARED_KEYS, key=a, limit=limit + 1)
            ]
            a = b = None
        if len(items) <= limit:
            items += await self._refused_links(a, b, limit + 1 - len(items))
        return page_of(items, limit, ("_kind", "_a", "_b"))

    async def _refused_links(self, a: str | None, b: str | None, limit: int) -> list[dict[str, Any]]:
        rows = await self._rows(CONFLICTS, a=a, b=b, limit=limit)
        return [
            {
                "kind": REFUSED_LINK,
                "customers": [row["customer_a"], row["customer_b"]],
                "link": [row["key"], row["other"]],
                "occurred_at": wire_time(row["occurred_at"]),
                "touchpoint_id": row["touchpoint_id"],
                "source": row["source"],
                "key": None,
                "named_with": None,
                "_kind": REFUSED_LINK,
                "_a": row["customer_a"],
                "_b": row["customer_b"],
            }
            for row in rows
        ]


def _fact(row: dict[str, Any]) -> dict[str, Any]:
    """One fact as a response item."""
    common = {
        "lifecycle": row["lifecycle"],
        "fact": row["fact"],
        "sequence": row["sequence"],
        "occurred_at": wire_time(row["occurred_at"]),
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
        return common | {"stage": row["stage"], "level": row["level"], "since": wire_time(row["since"])}
    return common | {
        "stage": row["stage"],
        "stalled_seconds": row["stalled_seconds"],
        "touchpoint_id": row["touchpoint_id"],
    }
