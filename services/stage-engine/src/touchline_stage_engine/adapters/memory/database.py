"""The tables of the hot path in memory, for tests: rows of all partitions, and transactions that can be rolled back.

Behaves as `adapters/postgres/partition` does; one test suite runs on both. Rows are never changed in place, so a
snapshot of a transaction copies only the dictionaries.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any

from touchline_stage_engine.application.audiences.values import Membership, Progress
from touchline_stage_engine.application.batches.touchpoint_outcomes import NotedOutcome
from touchline_stage_engine.application.outbox_records import Outgoing
from touchline_stage_engine.application.values import ErasureReceipt, ErasureRecord, Position
from touchline_stage_engine.core.audiences.audience import Audience
from touchline_stage_engine.core.identity.links import Conflict
from touchline_stage_engine.core.touchpoint import Order

Row = dict[str, Any]


@dataclass
class MemoryDatabase:
    """All rows, by primary key."""

    partitions: dict[tuple[str, str, int], Position] = field(default_factory=dict)
    customers: dict[tuple[int, str], Row] = field(default_factory=dict)
    touchpoints: dict[tuple[str, int], Row] = field(default_factory=dict)
    """(customer, hash) → row."""
    copies: dict[tuple[str, int, str], Row] = field(default_factory=dict)
    """(customer, hash, key) → row."""
    history: dict[tuple[str, str, int], tuple[Any, ...]] = field(default_factory=dict)
    """(customer, lifecycle, number) → row."""
    checkpoints: dict[tuple[str, Order], bytes] = field(default_factory=dict)
    stages: dict[tuple[str, str], tuple[Any, ...]] = field(default_factory=dict)
    """(customer, lifecycle) → (version, stage, entered_at, sequence, stalled_level, stalled_since)."""
    aliases: dict[tuple[str, str], None] = field(default_factory=dict)
    links: dict[tuple[str, str], tuple[int, bytes]] = field(default_factory=dict)
    """(key, other key) → (partition, the link as JSON)."""
    shared_keys: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Key → (partition, number of keys named with it)."""
    shared_key_limits: dict[int, int] = field(default_factory=dict)
    conflicts: dict[tuple[str, str], Conflict] = field(default_factory=dict)
    outcomes: dict[tuple[int, str, int], tuple[int, NotedOutcome]] = field(default_factory=dict)
    """(hash, outcome, partition) → (clock, what is noted)."""
    erasures: dict[tuple[int, bytes], ErasureRecord] = field(default_factory=dict)
    receipts: dict[tuple[str, bytes], ErasureReceipt] = field(default_factory=dict)
    outbox: dict[tuple[int, int], Outgoing] = field(default_factory=dict)
    """(partition, id) → record."""
    audiences: dict[int, Audience] = field(default_factory=dict)
    """Id → audience."""
    audience_members: dict[tuple[int, int, str], Membership] = field(default_factory=dict)
    """(partition, audience id, customer) → member or former member."""
    audience_progress: dict[tuple[int, int], tuple[Progress, int]] = field(default_factory=dict)
    """(partition, audience id) → how far it is evaluated, and the number of members."""
    catch_ups: dict[int, int] = field(default_factory=dict)
    """Partition → flushed instant."""

    def snapshot(self) -> dict[str, Any]:
        """A copy to restore after a failed transaction."""
        copy = {item.name: dict(getattr(self, item.name)) for item in fields(self)}
        copy["partitions"] = {key: replace(position) for key, position in self.partitions.items()}
        return copy

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Undo everything since a snapshot."""
        for name, rows in snapshot.items():
            setattr(self, name, rows)
