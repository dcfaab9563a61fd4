"""What customers are worth, and why they buy: the top customers, and the reading of one."""

import asyncio
import time
from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from touchline_schemas.partitions import partition_of
from touchline_schemas.times import from_micros, to_wire

from touchline_stage_engine.adapters.reads.customers import WHO
from touchline_stage_engine.core.customer_mind import READ, Reading, read_mind
from touchline_stage_engine.core.touchpoint import Touchpoint

# Customers by what they paid, less what they got back. Reads every purchase there is, so its answer is kept a while.
# Amounts are added as exact numbers; one that nobody pays is left out, so that no sum overflows.
TOP = text("""
    WITH amounts AS (
        SELECT t.customer_id, t.type, t.occurred_at,
               CASE 'number'
                   WHEN json_typeof(t.properties -> 'value') THEN CAST(t.properties ->> 'value' AS numeric)
                   WHEN json_typeof(t.properties -> 'amount') THEN CAST(t.properties ->> 'amount' AS numeric)
                   WHEN json_typeof(t.properties -> 'total') THEN CAST(t.properties ->> 'total' AS numeric)
               END AS amount
        FROM touchpoints t
        WHERE t.type IN ('purchased', 'renewed', 'upgraded', 'refunded')
          AND t.flags & 1 = 0
          AND NOT EXISTS (
              SELECT FROM customers c WHERE c.customer_id = t.customer_id AND c.merged_into IS NOT NULL
          )
    )
    SELECT customer_id,
           sum(CASE WHEN type = 'refunded' THEN -amount ELSE amount END) AS value,
           count(*) FILTER (WHERE type <> 'refunded') AS purchases,
           max(occurred_at) FILTER (WHERE type <> 'refunded') AS last_purchase_at
    FROM amounts
    WHERE abs(amount) < 1e12
    GROUP BY customer_id
    HAVING sum(CASE WHEN type = 'refunded' THEN -amount ELSE amount END) > 0
    ORDER BY value DESC, customer_id
    LIMIT :limit
""")

# Where some customers stand in every lifecycle that runs.
STANDS = text("""
    SELECT s.customer_id, s.lifecycle, s.stage, s.entered_at, s.stalled_level
    FROM stages s
    WHERE s.customer_id = ANY (:customers)
      AND EXISTS (SELECT FROM lifecycles l WHERE l.name = s.lifecycle AND l.running)
    ORDER BY s.lifecycle
""")

# The latest of a customer's purchases and words.
WORDS = text("""
    SELECT occurred_at, id, source, type, channel, properties
    FROM touchpoints
    WHERE customer_id = :customer_id AND type = ANY (:types) AND flags & 1 = 0
    ORDER BY occurred_at DESC, id DESC, source DESC
    LIMIT 500
""")

MOST = 1000
KEPT_SECONDS = 30.0


class ValueReads:
    """Queries about value, over SQLAlchemy."""

    def __init__(self, engine: AsyncEngine, partitions: int) -> None:
        self._engine = engine
        self._partitions = partitions
        self._asking = asyncio.Lock()
        self._top: tuple[float, list[dict[str, Any]]] | None = None

    async def top(self, limit: int) -> list[dict[str, Any]]:
        """The customers of the highest value, and where each stands. The order may be half a minute old."""
        async with self._asking:
            if self._top is None or time.monotonic() - self._top[0] > KEPT_SECONDS:
                self._top = (time.monotonic(), await self._rows(TOP, limit=MOST))
            rows = self._top[1][:limit]
        stands: dict[str, dict[str, Any]] = {}
        for row in await self._rows(STANDS, customers=[row["customer_id"] for row in rows]):
            stands.setdefault(row["customer_id"], {})[row["lifecycle"]] = {
                "stage": row["stage"],
                "entered_at": to_wire(from_micros(row["entered_at"])),
                "stalled_level": row["stalled_level"],
            }
        return [
            {
                "customer_id": row["customer_id"],
                "value": float(row["value"]),
                "purchases": row["purchases"],
                "last_purchase_at": None
                if row["last_purchase_at"] is None
                else to_wire(from_micros(row["last_purchase_at"])),
                "stages": stands.get(row["customer_id"], {}),
            }
            for row in rows
        ]

    async def reading(self, key: str) -> tuple[str, Reading] | None:
        """The customer a key belongs to, and the reading of them; None for a key nobody has seen."""
        found = await self._rows(WHO, key=key, partition=partition_of(key, self._partitions))
        if not found:
            return None
        customer_id = found[0]["merged_into"] or key
        rows = await self._rows(WORDS, customer_id=customer_id, types=sorted(READ))
        touchpoints = [
            Touchpoint(
                row["occurred_at"], row["id"], row["source"], row["type"], row["channel"], "inbound",
                row["properties"] if isinstance(row["properties"], dict) else orjson.loads(row["properties"]),
            )
            for row in reversed(rows)
        ]  # fmt: skip
        return customer_id, read_mind(touchpoints)

    async def _rows(self, statement: Any, **parameters: Any) -> list[dict[str, Any]]:
        async with self._engine.connect() as connection:
            result = await connection.execute(statement, parameters)
            return [dict(row) for row in result.mappings()]
