"""Customers, touchpoints and everything folded from them, in PostgreSQL: loads, and one write per transaction."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from typing import Any

import asyncpg
import orjson

from touchline_stage_engine.adapters import statements
from touchline_stage_engine.adapters.changes import (
    CHECKPOINT_COLUMNS,
    HISTORY_COLUMNS,
    OUTBOX_COLUMNS,
    TOUCHPOINT_COLUMNS,
    Changes,
    read_touchpoint,
)
from touchline_stage_engine.adapters.customers import Customer
from touchline_stage_engine.adapters.decoding import others_named
from touchline_stage_engine.adapters.outgoing import pack
from touchline_stage_engine.core.fold import Fold
from touchline_stage_engine.core.identity import Weight, weigh
from touchline_stage_engine.core.touchpoint import Order, Touchpoint

BREATH = 200
"""Records or customers between two turns of the event loop: what is folded must not hold up what is published."""
CHUNK = 2000
"""Touchpoints read at once in a refold: between chunks the event loop can do its other work."""
OUTBOX_ROW = 500
"""Records in one row of the outbox: a row each would cost PostgreSQL more than the facts themselves."""


async def load_customers(
    connection: asyncpg.Connection, partition: int, keys: Sequence[str], folds: Sequence[Fold], generation: int
) -> dict[str, Customer]:
    """The customers among these keys that are stored."""
    rows = await connection.fetch(statements.LOAD_CUSTOMERS, partition, keys)
    return {row["customer_id"]: Customer.load(row, folds, generation) for row in rows}


async def find_touchpoints(
    connection: asyncpg.Connection, asked: Iterable[tuple[int, str]]
) -> dict[tuple[int, str], Any]:
    """Rows of those of these (hash, customer id) that are stored."""
    pairs = list(asked)
    if not pairs:
        return {}
    rows = await connection.fetch(
        statements.FIND_TOUCHPOINTS, [hash_ for hash_, _ in pairs], [customer_id for _, customer_id in pairs]
    )
    return {(row["hash"], row["customer_id"]): row for row in rows}


async def links_made(connection: asyncpg.Connection, key: str) -> dict[str, Weight]:
    """The links that a key's own touchpoints make: other key → weight of the least of them."""
    links: dict[str, Weight] = {}
    for occurred_at, id_, source, identifiers in await connection.fetch(statements.LINKS_MADE, key):
        for other in others_named(orjson.loads(identifiers), source):
            weight = weigh(occurred_at, id_, source, key, other)
            links[other] = min(weight, links.get(other, weight))
    return links


async def touchpoint_rows(
    connection: asyncpg.Connection, customer_id: str, after: Order, through: Order
) -> AsyncIterator[list[Any]]:
    """A customer's rows after one place in the order and up to another, in order, in chunks."""
    while True:
        rows = await connection.fetch(statements.TOUCHPOINTS_BETWEEN, customer_id, *after, *through, CHUNK)
        if rows:
            yield rows
            last = rows[-1]
            after = (last["occurred_at"], last["id"], last["source"])
        if len(rows) < CHUNK:
            return


async def touchpoints_between(
    connection: asyncpg.Connection, customer_id: str, after: Order, through: Order
) -> AsyncGenerator[list[Touchpoint], None]:
    """A customer's touchpoints after one place in the order and up to another, in order, in chunks."""
    async for rows in touchpoint_rows(connection, customer_id, after, through):
        yield [read_touchpoint(row) for row in rows]


async def copy_touchpoints(connection: asyncpg.Connection, changes: Changes) -> None:
    """Write the new touchpoints; before any refold reads them."""
    if changes.touchpoints:
        await connection.copy_records_to_table("touchpoints", records=changes.touchpoints, columns=TOUCHPOINT_COLUMNS)


async def write(
    connection: asyncpg.Connection,
    partition: int,
    changes: Changes,
    names: Sequence[str],
    first_outbox_id: int,
    now: int,
) -> None:
    """Write all that was folded, the touchpoints excepted. The outbox's records are numbered from `first_outbox_id`."""
    if changes.history:
        await connection.copy_records_to_table("history", records=changes.history, columns=HISTORY_COLUMNS)
    if changes.checkpoints:
        await connection.copy_records_to_table("checkpoints", records=changes.checkpoints, columns=CHECKPOINT_COLUMNS)
    await _write_stages(connection, partition, changes, now)
    await _write_identity(connection, changes)
    await save_customers(connection, partition, changes.customers.values(), names)
    outbox = []
    for begin in range(0, len(changes.outbox), OUTBOX_ROW):
        records = changes.outbox[begin : begin + OUTBOX_ROW]
        first = first_outbox_id + begin
        outbox.append((partition, first, first + len(records) - 1, pack(records)))
    if outbox:
        await connection.copy_records_to_table("outbox", records=outbox, columns=OUTBOX_COLUMNS)


async def _write_stages(connection: asyncpg.Connection, partition: int, changes: Changes, now: int) -> None:
    if not changes.stages:
        return
    there, gone = [], []
    for (customer_id, lifecycle), published in changes.stages.items():
        if published is None:
            gone.append((customer_id, lifecycle))
        else:
            since = published.since if published.level else None
            there.append(
                (
                    customer_id, lifecycle, published.version, published.stage, published.entered_at,
                    published.sequence, published.level, since,
                )
            )  # fmt: skip
    if there:
        await connection.execute(statements.SAVE_STAGES, partition, there, now)
    if gone:
        await connection.execute(
            statements.DELETE_STAGES, [customer_id for customer_id, _ in gone], [lifecycle for _, lifecycle in gone]
        )


async def _write_identity(connection: asyncpg.Connection, changes: Changes) -> None:
    if changes.aliases:
        await connection.execute(
            statements.ADD_ALIASES,
            [customer_id for customer_id, _ in changes.aliases],
            [alias for _, alias in changes.aliases],
        )
    if changes.conflicts:
        await connection.execute(statements.FORGET_CONFLICTS, list(changes.conflicts))
        found = [conflict for conflicts in changes.conflicts.values() for conflict in conflicts]
        if found:
            await connection.execute(
                statements.ADD_CONFLICTS,
                [conflict.key for conflict in found],
                [conflict.other for conflict in found],
                [conflict.customer_a for conflict in found],
                [conflict.customer_b for conflict in found],
                [conflict.weight[0] for conflict in found],
                [conflict.weight[1] for conflict in found],
                [conflict.weight[2] for conflict in found],
            )


async def save_customers(
    connection: asyncpg.Connection, partition: int, customers: Iterable[Customer], names: Sequence[str]
) -> None:
    """Write customers' rows, new or not; ``wake_at`` only ever moves to an earlier time here, or from or to none."""
    rows = []
    for place, customer in enumerate(customers):
        if place % BREATH == 0:
            await asyncio.sleep(0)
        if not (customer.stored or customer.touchpoints or customer.identity):
            # All that came was dropped, because an erasure came after it: nothing is to name them again.
            continue
        due = customer.next_due()
        if due is None or customer.wake_at is None or due < customer.wake_at:
            customer.wake_at = due
        last_at, last_id, last_source = customer.last or (None, None, None)
        rows.append(
            (
                customer.customer_id, customer.incarnation, customer.erased_before, customer.touchpoints, last_at,
                last_id, last_source, customer.seen_at, customer.fired_through, customer.wake_at,
                customer.generation, customer.dump_states(names), customer.checkpointed, customer.merged_into,
                customer.merges, None if customer.identity is None else orjson.dumps(customer.identity.dump()),
            )
        )  # fmt: skip
        customer.stored = True
    if rows:
        await connection.execute(statements.SAVE_CUSTOMERS, partition, rows)
