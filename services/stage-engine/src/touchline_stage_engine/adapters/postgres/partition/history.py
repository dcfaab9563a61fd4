"""Canonical facts and checkpoints in PostgreSQL."""

from collections.abc import Sequence
from typing import Any

import asyncpg

from touchline_stage_engine.adapters.postgres.partition.row_copies import RowCopies
from touchline_stage_engine.application.batches.changes import CHECKPOINT_COLUMNS, HISTORY_COLUMNS
from touchline_stage_engine.application.batches.folding import END, Checkpoint, CheckpointStates
from touchline_stage_engine.application.values import CheckpointSpan, HistoryCut
from touchline_stage_engine.core.touchpoint import Order

# A stretch of history that has been folded again: after the facts that are kept, up to a number or (null) to the end.
CUT_HISTORY = """
DELETE FROM history h
USING unnest($1::text[], $2::text[], $3::int[], $4::int[]) AS cut (customer_id, lifecycle, kept, through)
WHERE h.customer_id = cut.customer_id AND h.lifecycle = cut.lifecycle
  AND h.no > cut.kept AND h.no <= coalesce(cut.through, 2147483647)
"""

# What CUT_HISTORY would delete.
STORED_HISTORY = """
SELECT h.*
FROM history h
JOIN unnest($1::text[], $2::text[], $3::int[], $4::int[]) AS cut (customer_id, lifecycle, kept, through)
    ON h.customer_id = cut.customer_id AND h.lifecycle = cut.lifecycle
WHERE h.no > cut.kept AND h.no <= coalesce(cut.through, 2147483647)
"""

DELETE_FACTS = """
DELETE FROM history h
USING unnest($1::text[], $2::text[], $3::int[]) AS fact (customer_id, lifecycle, no)
WHERE h.customer_id = fact.customer_id AND h.lifecycle = fact.lifecycle AND h.no = fact.no
"""

# Of each customer the last checkpoint before a place in the order.
CHECKPOINTS_BEFORE = """
SELECT c.customer_id, c.occurred_at, c.id, c.source, c.states
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[]) AS asked (customer_id, at, id, source)
JOIN LATERAL (
    SELECT *
    FROM checkpoints
    WHERE customer_id = asked.customer_id
      AND (occurred_at, id, source) < (asked.at, asked.id, asked.source)
    ORDER BY occurred_at DESC, id DESC, source DESC
    LIMIT 1
) c ON true
"""

# Of each customer the checkpoints after a place in the order; states are compared, so their digest is enough.
CHECKPOINTS_AFTER = """
SELECT c.customer_id, c.occurred_at, c.id, c.source, sha256(c.states) AS digest
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[]) AS asked (customer_id, at, id, source)
JOIN LATERAL (
    SELECT *
    FROM checkpoints
    WHERE customer_id = asked.customer_id
      AND (occurred_at, id, source) > (asked.at, asked.id, asked.source)
    ORDER BY occurred_at, id, source
) c ON true
ORDER BY c.customer_id, c.occurred_at, c.id, c.source
"""

DELETE_CHECKPOINTS_BETWEEN = """
DELETE FROM checkpoints c
USING unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[])
    AS cut (customer_id, after_at, after_id, after_source, at, id, source)
WHERE c.customer_id = cut.customer_id
  AND (c.occurred_at, c.id, c.source) > (cut.after_at, cut.after_id, cut.after_source)
  AND (c.occurred_at, c.id, c.source) < (cut.at, cut.id, cut.source)
"""

DELETE_HISTORY_OF = "DELETE FROM history WHERE customer_id = ANY ($1::text[])"

DELETE_CHECKPOINTS_OF = "DELETE FROM checkpoints WHERE customer_id = ANY ($1::text[])"


class PostgresHistory:
    """Implements `ports.HistoryTable`."""

    def __init__(self, connection: asyncpg.Connection, copies: RowCopies) -> None:
        self._connection = connection
        self._copies = copies

    async def cut(self, cuts: Sequence[HistoryCut]) -> None:
        await self._connection.execute(CUT_HISTORY, *_bounds(cuts))

    async def stored(self, cuts: Sequence[HistoryCut]) -> dict[tuple[str, str, int], tuple[Any, ...]]:
        rows = await self._connection.fetch(STORED_HISTORY, *_bounds(cuts))
        return {
            (row["customer_id"], row["lifecycle"], row["no"]): tuple(row[column] for column in HISTORY_COLUMNS)
            for row in rows
        }

    async def delete(self, facts: Sequence[tuple[str, str, int]]) -> None:
        if facts:
            await self._connection.execute(DELETE_FACTS, *(list(column) for column in zip(*facts, strict=True)))

    async def delete_of(self, customer_ids: Sequence[str]) -> None:
        await self._connection.execute(DELETE_HISTORY_OF, customer_ids)
        await self._connection.execute(DELETE_CHECKPOINTS_OF, customer_ids)

    async def delete_checkpoints(self, spans: Sequence[CheckpointSpan]) -> None:
        if not spans:
            return
        ends = [span.before or END for span in spans]
        await self._connection.execute(
            DELETE_CHECKPOINTS_BETWEEN,
            [span.customer_id for span in spans],
            [span.after[0] for span in spans],
            [span.after[1] for span in spans],
            [span.after[2] for span in spans],
            [end[0] for end in ends],
            [end[1] for end in ends],
            [end[2] for end in ends],
        )

    async def checkpoints_before(self, orders: Sequence[tuple[str, Order]]) -> dict[str, CheckpointStates]:
        if not orders:
            return {}
        rows = await self._connection.fetch(CHECKPOINTS_BEFORE, *_columns(orders))
        return {row["customer_id"]: CheckpointStates(_order(row), row["states"]) for row in rows}

    async def checkpoints_after(self, orders: Sequence[tuple[str, Order]]) -> dict[str, list[Checkpoint]]:
        found: dict[str, list[Checkpoint]] = {}
        if orders:
            for row in await self._connection.fetch(CHECKPOINTS_AFTER, *_columns(orders)):
                found.setdefault(row["customer_id"], []).append(Checkpoint(_order(row), row["digest"]))
        return found

    async def add(self, facts: Sequence[tuple[Any, ...]], checkpoints: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows of facts and of checkpoints."""
        if facts:
            await self._copies.copy("history", facts, HISTORY_COLUMNS)
        if checkpoints:
            await self._copies.copy("checkpoints", checkpoints, CHECKPOINT_COLUMNS)


def _bounds(cuts: Sequence[HistoryCut]) -> tuple[list[Any], ...]:
    return (
        [cut.customer_id for cut in cuts],
        [cut.lifecycle for cut in cuts],
        [cut.kept for cut in cuts],
        [cut.through for cut in cuts],
    )


def _order(row: Any) -> Order:
    return (row["occurred_at"], row["id"], row["source"])


def _columns(orders: Sequence[tuple[str, Order]]) -> tuple[list[Any], ...]:
    return (
        [customer_id for customer_id, _ in orders],
        [order[0] for _, order in orders],
        [order[1] for _, order in orders],
        [order[2] for _, order in orders],
    )
