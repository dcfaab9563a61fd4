"""What one transaction of a partition writes, collected while it folds, and the rows that stand for it."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from touchline_stage_engine.application.batches.customers import Customer
from touchline_stage_engine.application.outbox_records import Outgoing
from touchline_stage_engine.core.decoding import Arrival
from touchline_stage_engine.core.folding.corrections import Published
from touchline_stage_engine.core.identity.links import Conflict, Link
from touchline_stage_engine.core.touchpoint import Touchpoint

YIELD_EVERY = 200
"""Records, customers or links between two yields to the event loop: a large batch must not delay publishing."""

MACHINE, BACKFILL, OUTBOUND = 1, 2, 4
"""Bits of the column ``flags``."""

TOUCHPOINT_COLUMNS = (
    "customer_id", "occurred_at", "id", "source", "hash", "type", "channel", "flags", "received_at", "properties",
    "identifiers", "original_key",
)  # fmt: skip
CUSTOMER_COLUMNS = (
    "customer_id", "incarnation", "erased_before", "touchpoints", "last_at", "last_id", "last_source", "seen_at",
    "fired_through", "wake_at", "generation", "states", "checkpointed", "merged_into", "merges", "identity",
)  # fmt: skip
HISTORY_COLUMNS = (
    "customer_id", "lifecycle", "no", "fact", "sequence", "occurred_at", "version", "stage", "from_stage", "move",
    "reason_kind", "reason_text", "touchpoint_id", "previous_stage_seconds", "level", "since", "stalled_seconds",
    "backfill",
)  # fmt: skip
CHECKPOINT_COLUMNS = ("customer_id", "occurred_at", "id", "source", "states")
OUTBOX_COLUMNS = ("partition", "first_id", "last_id", "records")


@dataclass(slots=True)
class Changes:
    """Rows and records of one transaction, and what to count once it is committed. A stage of None is deleted."""

    customers: dict[str, Customer] = field(default_factory=dict)
    touchpoints: list[tuple[Any, ...]] = field(default_factory=list)
    history: list[tuple[Any, ...]] = field(default_factory=list)
    checkpoints: list[tuple[Any, ...]] = field(default_factory=list)
    stages: dict[tuple[str, str], Published | None] = field(default_factory=dict)
    outbox: list[Outgoing] = field(default_factory=list)
    aliases: list[tuple[str, str]] = field(default_factory=list)
    links: dict[tuple[str, str], Link | None] = field(default_factory=dict)
    """(key, other key) → the link; None: deleted."""
    conflicts: dict[tuple[str, str], Conflict | None] = field(default_factory=dict)
    """(key, other key) → the conflict that their link is now; None: resolved."""
    shared: dict[str, int | None] = field(default_factory=dict)
    """Shared key → how many keys are named with it; None: no longer shared."""
    counts: Counter[str] = field(default_factory=Counter)
    conflicting: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(source, id) of touchpoints that came with another content"""
    moves: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    stalls: Counter[tuple[str, str]] = field(default_factory=Counter)
    recoveries: Counter[str] = field(default_factory=Counter)
    poison: Counter[str] = field(default_factory=Counter)
    rebuilds: int = 0
    forgotten: set[str] = field(default_factory=set)
    """Customers that have become aliases: their history and checkpoints are deleted."""

    def cut_history(self, cuts: Iterable[tuple[str, str, int, int | None]]) -> None:
        """Remove collected facts after those to keep: they are folded once more."""
        kept = {(customer_id, lifecycle): number for customer_id, lifecycle, number, _ in cuts}
        self.history = [row for row in self.history if row[2] <= kept.get((row[0], row[1]), row[2])]

    def drop_checkpoints(self, customer_id: str) -> None:
        """Remove a customer's checkpoints: they are created again."""
        self.checkpoints = [row for row in self.checkpoints if row[0] != customer_id]

    def forget(self, customer_id: str) -> None:
        """Remove all rows of a customer who has just been erased; records to publish stay."""
        self.customers.pop(customer_id, None)
        self.history = [row for row in self.history if row[0] != customer_id]
        self.checkpoints = [row for row in self.checkpoints if row[0] != customer_id]
        self.stages = {key: published for key, published in self.stages.items() if key[0] != customer_id}
        self.aliases = [pair for pair in self.aliases if pair[0] != customer_id]
        self.links = {pair: link for pair, link in self.links.items() if pair[0] != customer_id}
        self.conflicts = {pair: conflict for pair, conflict in self.conflicts.items() if pair[0] != customer_id}
        self.shared.pop(customer_id, None)
        self.forgotten.discard(customer_id)


class CustomerRows(NamedTuple):
    """Rows of ``customers``: of customers who have no row yet, and of those who have one."""

    added: list[tuple[Any, ...]]
    changed: list[tuple[Any, ...]]


async def customer_rows(customers: Iterable[Customer], names: Sequence[str]) -> CustomerRows:
    """Rows of ``customers``; ``wake_at`` only moves to an earlier time here, or from or to none."""
    rows = CustomerRows([], [])
    for index, customer in enumerate(customers):
        if index % YIELD_EVERY == 0:
            await asyncio.sleep(0)
        erased = customer.erased_before is not None
        if not customer.stored and customer.is_empty and (erased or customer.identity is None):
            # Everything that came was dropped, because an erasure came after it: no row may name the key again.
            continue
        due = customer.next_due()
        if due is None or customer.wake_at is None or due < customer.wake_at:
            customer.wake_at = due
        last_at, last_id, last_source = customer.last or (None, None, None)
        (rows.changed if customer.stored else rows.added).append(
            (
                customer.customer_id, customer.incarnation, customer.erased_before, customer.touchpoints, last_at,
                last_id, last_source, customer.seen_at, customer.fired_through, customer.wake_at,
                customer.generation, customer.dump_states(names), customer.checkpointed, customer.merged_into,
                customer.merges, None if customer.identity is None else orjson.dumps(customer.identity.dump()),
            )
        )  # fmt: skip
        customer.stored = True
    return rows


def touchpoint_row(customer_id: str, arrival: Arrival) -> tuple[Any, ...]:
    """A row of ``touchpoints``."""
    touchpoint = arrival.touchpoint
    flags = 0
    if touchpoint.machine:
        flags = MACHINE
    if touchpoint.backfill:
        flags |= BACKFILL
    if touchpoint.direction == "outbound":
        flags |= OUTBOUND
    properties, identifiers, text = touchpoint.properties, arrival.identifiers, arrival.properties_json
    if text is None:
        text = orjson.dumps(properties).decode() if properties else "{}"
    return (
        customer_id,
        touchpoint.occurred_at,
        touchpoint.id,
        touchpoint.source,
        arrival.hash,
        touchpoint.type,
        touchpoint.channel,
        flags,
        touchpoint.received_at,
        text,
        None if identifiers is None else orjson.dumps(identifiers).decode(),
        None if arrival.key == customer_id else arrival.key,
    )


def read_touchpoint(row: Any) -> Touchpoint:
    """The touchpoint of a row."""
    flags, properties = row["flags"], row["properties"]
    return Touchpoint(
        row["occurred_at"],
        row["id"],
        row["source"],
        row["type"],
        row["channel"],
        "outbound" if flags & OUTBOUND else "inbound",
        {} if properties == "{}" else orjson.loads(properties),
        bool(flags & MACHINE),
        bool(flags & BACKFILL),
        row["received_at"],
    )


def read_arrival(row: Any, customer_id: str) -> Arrival:
    """The touchpoint of a row as it arrived."""
    identifiers = row["identifiers"]
    return Arrival(
        read_touchpoint(row),
        row["original_key"] or customer_id,
        (),
        None if identifiers is None else orjson.loads(identifiers),
        row["hash"],
    )
