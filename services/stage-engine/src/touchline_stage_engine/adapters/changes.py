"""What one transaction of a partition's owner writes, gathered while it folds."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from touchline_stage_engine.adapters.customers import Customer
from touchline_stage_engine.adapters.decoding import Arrival
from touchline_stage_engine.adapters.outgoing import Outgoing
from touchline_stage_engine.core.identity import Conflict
from touchline_stage_engine.core.publication import Published
from touchline_stage_engine.core.touchpoint import Touchpoint

MACHINE, BACKFILL, OUTBOUND = 1, 2, 4
"""Bits of the column ``flags``."""

TOUCHPOINT_COLUMNS = (
    "customer_id", "occurred_at", "id", "source", "hash", "type", "channel", "flags", "received_at", "properties",
    "identifiers", "original_key",
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
    """Rows and records of one transaction, and what to count once it is committed. A stage None: gone."""

    customers: dict[str, Customer] = field(default_factory=dict)
    touchpoints: list[tuple[Any, ...]] = field(default_factory=list)
    history: list[tuple[Any, ...]] = field(default_factory=list)
    checkpoints: list[tuple[Any, ...]] = field(default_factory=list)
    stages: dict[tuple[str, str], Published | None] = field(default_factory=dict)
    outbox: list[Outgoing] = field(default_factory=list)
    aliases: list[tuple[str, str]] = field(default_factory=list)
    conflicts: dict[str, list[Conflict]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    moves: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    stalls: Counter[tuple[str, str]] = field(default_factory=Counter)
    recoveries: Counter[str] = field(default_factory=Counter)
    poison: Counter[str] = field(default_factory=Counter)
    rebuilds: int = 0
    forgotten: set[str] = field(default_factory=set)
    """Customers that have become aliases: their history and checkpoints go."""

    def cut_history(self, cuts: Iterable[tuple[str, str, int, int | None]]) -> None:
        """Take out what is noted of customers' histories after the facts to keep: they are folded once more."""
        kept = {(customer_id, lifecycle): number for customer_id, lifecycle, number, _ in cuts}
        self.history = [row for row in self.history if row[2] <= kept.get((row[0], row[1]), row[2])]

    def drop_checkpoints(self, customer_id: str) -> None:
        """Take out a customer's checkpoints: they are made anew."""
        self.checkpoints = [row for row in self.checkpoints if row[0] != customer_id]

    def forget(self, customer_id: str) -> None:
        """Write nothing of a customer who has just been erased; what is to be published stays."""
        self.customers.pop(customer_id, None)
        self.history = [row for row in self.history if row[0] != customer_id]
        self.checkpoints = [row for row in self.checkpoints if row[0] != customer_id]
        self.stages = {key: published for key, published in self.stages.items() if key[0] != customer_id}
        self.aliases = [pair for pair in self.aliases if pair[0] != customer_id]
        self.conflicts.pop(customer_id, None)
        self.forgotten.discard(customer_id)


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
    properties, identifiers = touchpoint.properties, arrival.identifiers
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
        orjson.dumps(properties).decode() if properties else "{}",
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
