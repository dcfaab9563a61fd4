"""The customers of one partition in PostgreSQL."""

from collections.abc import Container, Iterable, Sequence
from typing import Any

import asyncpg

from touchline_stage_engine.adapters.postgres.partition.row_copies import RowCopies
from touchline_stage_engine.application.batches.changes import CUSTOMER_COLUMNS, CustomerRows
from touchline_stage_engine.application.batches.customers import Customer
from touchline_stage_engine.core.folding.corrections import Published
from touchline_stage_engine.core.folding.fold import Fold
from touchline_stage_engine.core.folding.generation import Generation

SMALL = 200
"""Rows up to which they are sent with the statement instead of being copied."""

STAGE_COLUMNS = (
    "customer_id", "lifecycle", "version", "stage", "entered_at", "sequence", "stalled_level", "stalled_since",
)  # fmt: skip

LOAD_CUSTOMERS = """
SELECT *
FROM customers
WHERE partition = $1 AND customer_id = ANY ($2::text[])
"""

# Whose timers may be due. wake_at is at or before the true time: the owner computes it and fires, or corrects it.
# Customers with links ($3) wait for other partitions. After ($5, $6): those before are done.
CUSTOMERS_TO_WAKE = """
SELECT customer_id, wake_at
FROM customers
WHERE partition = $1 AND wake_at <= $2 AND (identity IS NULL OR wake_at <= $3) AND (wake_at, customer_id) > ($5, $6)
ORDER BY wake_at, customer_id
LIMIT $4
"""

NEXT_WAKE = """
SELECT min(wake_at)
FROM customers
WHERE partition = $1 AND wake_at > $2
"""

# A customer whose timers can't be fired is tried again later, so that the others are not held up.
POSTPONE_WAKE = """
UPDATE customers
SET wake_at = $3
WHERE partition = $1 AND customer_id = $2
"""

# A sweep's next customers, in the order of the primary key.
CUSTOMERS_AFTER = """
SELECT customer_id, generation
FROM customers
WHERE partition = $1 AND customer_id > $2
ORDER BY customer_id
LIMIT $3
"""

# Of these customers, the keys that have handed something over.
ALIASES_OF_MANY = "SELECT customer_id, alias FROM aliases WHERE customer_id = ANY ($1::text[])"

ADD_ALIASES = """
INSERT INTO aliases (customer_id, alias)
SELECT * FROM unnest($1::text[], $2::text[])
ON CONFLICT DO NOTHING
"""

# Rows of a small batch are sent with the statement. Those of a large one are copied: new ones into the table itself,
# the others into a temporary table, from which one UPDATE takes them. PostgreSQL and the driver need half the time for
# that, and two statements more.
SAVE_CUSTOMERS = """
INSERT INTO customers (
    partition, customer_id, incarnation, erased_before, touchpoints, last_at, last_id, last_source, seen_at,
    fired_through, wake_at, generation, states, checkpointed, merged_into, merges, identity
)
SELECT $1, *
FROM unnest($2::customer_row[])
ON CONFLICT (partition, customer_id) DO UPDATE SET
    incarnation = excluded.incarnation,
    erased_before = excluded.erased_before,
    touchpoints = excluded.touchpoints,
    last_at = excluded.last_at,
    last_id = excluded.last_id,
    last_source = excluded.last_source,
    seen_at = excluded.seen_at,
    fired_through = excluded.fired_through,
    wake_at = excluded.wake_at,
    generation = excluded.generation,
    states = excluded.states,
    checkpointed = excluded.checkpointed,
    merged_into = excluded.merged_into,
    merges = excluded.merges,
    identity = excluded.identity
"""

MAKE_CHANGED_CUSTOMERS = """
CREATE TEMPORARY TABLE IF NOT EXISTS changed_customers OF customer_row ON COMMIT DELETE ROWS
"""

# By the rows' addresses: a join on customer_id that is planned while `customers` is small would read all of `customers`
# for each of the rows, and the plan is kept.
UPDATE_CUSTOMERS = """
UPDATE customers c SET
    incarnation = n.incarnation,
    erased_before = n.erased_before,
    touchpoints = n.touchpoints,
    last_at = n.last_at,
    last_id = n.last_id,
    last_source = n.last_source,
    seen_at = n.seen_at,
    fired_through = n.fired_through,
    wake_at = n.wake_at,
    generation = n.generation,
    states = n.states,
    checkpointed = n.checkpointed,
    merged_into = n.merged_into,
    merges = n.merges,
    identity = n.identity
FROM (
    SELECT changed_customers.*, (
        SELECT ctid
        FROM customers
        WHERE partition = $1 AND customer_id = changed_customers.customer_id
    ) AS row_address
    FROM changed_customers
    OFFSET 0
) n
WHERE c.ctid = n.row_address
"""

_SAVE_STAGES = """
INSERT INTO stages (
    partition, customer_id, lifecycle, version, stage, entered_at, sequence, stalled_level, stalled_since, updated_at
)
SELECT $1, *, $2
FROM {source}
ON CONFLICT (customer_id, lifecycle) DO UPDATE SET
    version = excluded.version,
    stage = excluded.stage,
    entered_at = excluded.entered_at,
    sequence = excluded.sequence,
    stalled_level = excluded.stalled_level,
    stalled_since = excluded.stalled_since,
    updated_at = excluded.updated_at
"""

SAVE_STAGES = _SAVE_STAGES.format(source="unnest($3::stage_row[])")

MAKE_CHANGED_STAGES = """
CREATE TEMPORARY TABLE IF NOT EXISTS changed_stages OF stage_row ON COMMIT DELETE ROWS
"""

# A customer may have stages already and enter one more lifecycle.
SAVE_CHANGED_STAGES = _SAVE_STAGES.format(source="changed_stages")

DELETE_STAGES = """
DELETE FROM stages s
USING unnest($1::text[], $2::text[]) AS gone (customer_id, lifecycle)
WHERE s.customer_id = gone.customer_id AND s.lifecycle = gone.lifecycle
"""


class PostgresCustomers:
    """Implements `ports.CustomerTable`, and what a transaction writes of customers."""

    def __init__(self, connection: asyncpg.Connection, copies: RowCopies, partition: int) -> None:
        self._connection = connection
        self._copy = copies.copy
        self._partition = partition

    async def load(
        self, keys: Sequence[str], folds: Sequence[Fold], generation: int, generations: Sequence[Generation]
    ) -> dict[str, Customer]:
        rows = await self._connection.fetch(LOAD_CUSTOMERS, self._partition, keys)
        return {row["customer_id"]: Customer.load(row, folds, generation, generations) for row in rows}

    async def aliases_of(self, customer_ids: Sequence[str]) -> list[tuple[str, str]]:
        rows = await self._connection.fetch(ALIASES_OF_MANY, customer_ids)
        return [(row["customer_id"], row["alias"]) for row in rows]

    async def with_timers_due(
        self, until: int, settled: int, after: tuple[int, str], limit: int
    ) -> list[tuple[str, int]]:
        rows = await self._connection.fetch(CUSTOMERS_TO_WAKE, self._partition, until, settled, limit, *after)
        return [(row["customer_id"], row["wake_at"]) for row in rows]

    async def next_wake(self, after: int | None = None) -> int | None:
        after = -(1 << 62) if after is None else after
        wake_at: int | None = await self._connection.fetchval(NEXT_WAKE, self._partition, after)
        return wake_at

    async def postpone_wake(self, customer_id: str, until: int) -> None:
        await self._connection.execute(POSTPONE_WAKE, self._partition, customer_id, until)

    async def generations_after(self, customer_id: str, limit: int) -> list[tuple[str, int]]:
        rows = await self._connection.fetch(CUSTOMERS_AFTER, self._partition, customer_id, limit)
        return [(row["customer_id"], row["generation"]) for row in rows]

    async def save(self, rows: CustomerRows) -> None:
        """Insert and update rows."""
        if len(rows.added) + len(rows.changed) <= SMALL:
            if rows.added or rows.changed:
                await self._connection.execute(SAVE_CUSTOMERS, self._partition, [*rows.added, *rows.changed])
            return
        if rows.added:
            added = [(self._partition, *row) for row in rows.added]
            await self._copy("customers", added, ("partition", *CUSTOMER_COLUMNS))
        if rows.changed:
            await self._connection.execute(MAKE_CHANGED_CUSTOMERS)
            await self._copy("changed_customers", rows.changed, CUSTOMER_COLUMNS)
            await self._connection.execute(UPDATE_CUSTOMERS, self._partition)

    async def add_aliases(self, aliases: Sequence[tuple[str, str]]) -> None:
        """Note (customer, alias)."""
        if aliases:
            await self._connection.execute(
                ADD_ALIASES, [customer_id for customer_id, _ in aliases], [alias for _, alias in aliases]
            )

    async def save_stages(
        self, stages: Iterable[tuple[tuple[str, str], Published | None]], added: Container[str], now: int
    ) -> None:
        """Write the published stages; None: the customer has no stage in this lifecycle.

        Args:
            added: customers who had no row, and so no stages, before this transaction.
        """
        new: list[tuple[Any, ...]] = []
        changed: list[tuple[Any, ...]] = []
        removed = []
        for (customer_id, lifecycle), published in stages:
            if published is None:
                removed.append((customer_id, lifecycle))
            else:
                since = published.since if published.level else None
                (new if customer_id in added else changed).append(
                    (
                        customer_id, lifecycle, published.version, published.stage, published.entered_at,
                        published.sequence, published.level, since,
                    )
                )  # fmt: skip
        if len(new) + len(changed) <= SMALL:
            if new or changed:
                await self._connection.execute(SAVE_STAGES, self._partition, now, [*new, *changed])
        else:
            if new:
                rows = [(self._partition, *row, now) for row in new]
                await self._copy("stages", rows, ("partition", *STAGE_COLUMNS, "updated_at"))
            if changed:
                await self._connection.execute(MAKE_CHANGED_STAGES)
                await self._copy("changed_stages", changed, STAGE_COLUMNS)
                await self._connection.execute(SAVE_CHANGED_STAGES, self._partition, now)
        if removed:
            await self._connection.execute(
                DELETE_STAGES, [customer_id for customer_id, _ in removed], [lifecycle for _, lifecycle in removed]
            )
