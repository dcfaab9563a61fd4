"""Read customer value: the top customers, and the buying motive of a customer."""

from typing import Any

import orjson
from sqlalchemy import text
from touchline_schemas.partitions import partition_of

from touchline_stage_engine.adapters.postgres.reads.customers import OWNER
from touchline_stage_engine.adapters.postgres.reads.statements import Reads, wire_time, wire_time_or_none
from touchline_stage_engine.core.analysis.motive import RELEVANT_TYPES, MotiveAnalysis, analyse_motive
from touchline_stage_engine.core.touchpoint import Touchpoint

# Customers by payments minus refunds, as their summaries have it.
TOP = text("""
    SELECT customer_id, value, purchases, last_purchase_at
    FROM customer_summaries
    WHERE value > 0
    ORDER BY value DESC, customer_id
    LIMIT :limit
""")

# The stage of some customers in every running lifecycle.
STAGES = text("""
    SELECT s.customer_id, s.lifecycle, s.stage, s.entered_at, s.stalled_level
    FROM stages s
    WHERE s.customer_id = ANY (:customers)
      AND EXISTS (SELECT FROM lifecycles l WHERE l.name = s.lifecycle AND l.running)
    ORDER BY s.lifecycle
""")

# A customer's latest purchases and feedback.
MOTIVE_TOUCHPOINTS = text("""
    SELECT occurred_at, id, source, type, channel, properties
    FROM touchpoints
    WHERE customer_id = :customer_id AND type = ANY (:types) AND flags & 1 = 0
    ORDER BY occurred_at DESC, id DESC, source DESC
    LIMIT 500
""")


class ValueReads(Reads):
    """Implements the port `ValueQueries`."""

    async def top(self, limit: int) -> list[dict[str, Any]]:
        """The customers of the highest value, and where each stages."""
        rows = await self._rows(TOP, limit=limit)
        stages: dict[str, dict[str, Any]] = {}
        for row in await self._rows(STAGES, customers=[row["customer_id"] for row in rows]):
            stages.setdefault(row["customer_id"], {})[row["lifecycle"]] = {
                "stage": row["stage"],
                "entered_at": wire_time(row["entered_at"]),
                "stalled_level": row["stalled_level"],
            }
        return [
            {
                "customer_id": row["customer_id"],
                "value": row["value"],
                "purchases": row["purchases"],
                "last_purchase_at": wire_time_or_none(row["last_purchase_at"]),
                "stages": stages.get(row["customer_id"], {}),
            }
            for row in rows
        ]

    async def motive(self, key: str) -> tuple[str, MotiveAnalysis] | None:
        """The customer that a key belongs to and their motive; None when no touchpoint has that key."""
        found = await self._rows(OWNER, key=key, partition=partition_of(key, self._partitions))
        if not found:
            return None
        customer_id = found[0]["merged_into"] or key
        rows = await self._rows(MOTIVE_TOUCHPOINTS, customer_id=customer_id, types=sorted(RELEVANT_TYPES))
        touchpoints = [
            Touchpoint(
                row["occurred_at"], row["id"], row["source"], row["type"], row["channel"], "inbound",
                row["properties"] if isinstance(row["properties"], dict) else orjson.loads(row["properties"]),
            )
            for row in reversed(rows)
        ]  # fmt: skip
        return customer_id, analyse_motive(touchpoints)
