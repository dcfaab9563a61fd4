"""The stored folding states of one customer, and the running definitions that give them a meaning."""

from collections.abc import Iterator
from typing import Any

import orjson
from sqlalchemy import text
from touchline_schemas.partitions import partition_of

from touchline_stage_engine.adapters.postgres.reads.recorded_definitions import recorded_definition
from touchline_stage_engine.adapters.postgres.reads.statements import Reads, wire_time, wire_time_or_none
from touchline_stage_engine.application.definitions import Catalogue, Version
from touchline_stage_engine.core.definitions.timeline import UnknownVersionError
from touchline_stage_engine.core.folding.corrections import Published
from touchline_stage_engine.core.folding.fold import Fold
from touchline_stage_engine.core.folding.state import StageState

# The last touchpoint is looked up, because `seen_at` never decreases: it may belong to a content that lost to a
# smaller one and is no longer in the table.
CUSTOMER = text("""
    SELECT customer_id, touchpoints, states, merged_into,
           COALESCE(
               (SELECT max(t.occurred_at) FROM touchpoints t WHERE t.customer_id = :customer_id), seen_at
           ) AS last_at
    FROM customers
    WHERE partition = :partition AND customer_id = :customer_id
""")
ALIASES = text("SELECT alias FROM aliases WHERE customer_id = :customer_id ORDER BY alias")
RUNNING = text("""
    SELECT name, version, fingerprint, text, effective_from
    FROM lifecycles
    WHERE running
    ORDER BY name, version
""")

MAX_MERGE_STEPS = 4
"""An alias points at its customer. More than one step is needed only while a merge is in progress."""


class StateReads(Reads):
    """Base of the classes that read folding states. The compiled definitions are cached until they change."""

    _cached: tuple[tuple[Any, ...], Catalogue] | None = None

    async def _customer(self, key: str) -> dict[str, Any] | None:
        """The row of the customer that a key belongs to; None without touchpoints."""
        row: dict[str, Any] | None = None
        for _ in range(MAX_MERGE_STEPS):
            found = await self._rows(CUSTOMER, partition=partition_of(key, self._partitions), customer_id=key)
            row = found[0] if found else None
            if row is None or row["merged_into"] is None:
                break
            key = row["merged_into"]
        return row if row is not None and row["touchpoints"] else None

    async def _catalogue(self) -> Catalogue:
        rows = await self._rows(RUNNING)
        key = tuple((row["name"], row["version"], row["fingerprint"], row["effective_from"]) for row in rows)
        if self._cached is None or self._cached[0] != key:
            versions = [
                Version(
                    recorded_definition(row["text"], row["name"]),
                    row["text"],
                    row["fingerprint"],
                    row["effective_from"],
                )
                for row in rows
            ]
            self._cached = (key, Catalogue(versions))
        return self._cached[1]


def stage_states(row: dict[str, Any], folds: list[Fold]) -> Iterator[tuple[Fold, StageState, Any]]:
    """Fold, state and published state of each lifecycle that the customer is in.

    A state of a version that does not run is skipped: the customer is being folded again.
    """
    states = orjson.loads(bytes(row["states"]))
    for fold in folds:
        dumped, published, *_ = states.get(fold.name, (None, None))
        if dumped is None:
            continue
        try:
            yield fold, StageState.load(dumped, fold.timeline), published
        except UnknownVersionError:
            continue


class CustomerStateReads(StateReads):
    """The current stages of one customer."""

    async def current(self, key: str, now: int) -> dict[str, Any] | None:
        """The customer that a key belongs to; None when no touchpoint has that key."""
        row = await self._customer(key)
        if row is None:
            return None
        customer_id = row["customer_id"]
        aliases = await self._rows(ALIASES, customer_id=customer_id)
        folds = (await self._catalogue()).folds(now)
        return {
            "customer_id": customer_id,
            "aliases": [alias["alias"] for alias in aliases],
            "touchpoints": row["touchpoints"],
            "last_touchpoint_at": wire_time_or_none(row["last_at"]),
            "stages": {
                fold.name: {
                    "stage": state.stage.name,
                    "entered_at": wire_time(state.entered_at),
                    "sequence": Published.load(published).sequence,
                    "version": state.stage.version,
                    "stalled_level": state.level,
                    "due_at": wire_time_or_none(state.next_due),
                }
                for fold, state, published in stage_states(row, folds)
            },
        }
