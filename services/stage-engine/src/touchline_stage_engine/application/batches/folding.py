"""Folds customers in memory and collects in `Changes` what has to be written and published. No I/O.

`Folding.advance` folds touchpoints that sort after everything folded and publishes their facts one by one. `Refold` (in
`refold.py`) folds history again and publishes the difference from what was published before.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import orjson

from touchline_stage_engine.application.batches.changes import YIELD_EVERY, Changes
from touchline_stage_engine.application.batches.customers import Customer
from touchline_stage_engine.application.outbox_records import RecordBuilder
from touchline_stage_engine.core.folding.corrections import Publication
from touchline_stage_engine.core.folding.corrections import publish as publication_of
from touchline_stage_engine.core.folding.facts import Fact, Move, Stall
from touchline_stage_engine.core.folding.fold import Fold
from touchline_stage_engine.core.folding.generation import Generation
from touchline_stage_engine.core.touchpoint import Order, Touchpoint

START: Order = (-(1 << 62), "", "")
"""Before every touchpoint."""
END: Order = (1 << 62, "", "")
"""After every touchpoint."""


class DefinitionStart(NamedTuple):
    """When a new definition starts to apply to a customer.

    Attributes:
        until: everything due up to this instant (microseconds) is past when it starts.
        caught_up: whether everything that occurred up to then is known, so that the timers up to then may fire.
    """

    until: int
    caught_up: bool


class Checkpoint(NamedTuple):
    """A stored checkpoint: the touchpoint it follows, and the SHA-256 of its states."""

    order: Order
    digest: bytes


class CheckpointStates(NamedTuple):
    """A stored checkpoint: the touchpoint it follows, and its states as JSON."""

    order: Order
    states: bytes


class Folding:
    """One partition's folds over the running lifecycles.

    Args:
        generation: identifies the definitions in force and the rebuilds; customers of another one may be stale.
        generations: the same for each lifecycle.
    """

    def __init__(
        self,
        folds: Sequence[Fold],
        generation: int,
        builder: RecordBuilder,
        checkpoint_every: int,
        generations: Sequence[Generation] | None = None,
    ) -> None:
        self.folds = folds
        self.names = [fold.name for fold in folds]
        self.generation = generation
        self.generations = [Generation(generation)] * len(folds) if generations is None else generations
        self.builder = builder
        self.checkpoint_every = checkpoint_every
        self.changes = Changes()

    def new_customer(self, customer_id: str) -> Customer:
        """A customer without touchpoints."""
        return Customer(customer_id, len(self.folds), self.generation, self.generations)

    def is_late(self, customer: Customer, touchpoint: Touchpoint) -> bool:
        """Whether a touchpoint sorts before what was folded, or before a timer that fired."""
        if touchpoint.machine:
            return False
        if customer.last is not None and touchpoint.order < customer.last:
            return True
        return any(fold.is_late(state, touchpoint) for fold, state in zip(self.folds, customer.states, strict=True))

    def advance(self, customer: Customer, touchpoints: Sequence[Touchpoint]) -> None:
        """Fold touchpoints that sort after everything folded, in order."""
        counting = [touchpoint for touchpoint in touchpoints if not touchpoint.machine]
        if touchpoints and (customer.seen_at is None or touchpoints[-1].occurred_at > customer.seen_at):
            customer.seen_at = touchpoints[-1].occurred_at
        if not counting:
            return
        # Checkpoints are written at fixed distances: fold in pieces that end there.
        done = 0
        while done < len(counting):
            room = max(1, customer.checkpointed + self.checkpoint_every - customer.touchpoints - done)
            piece = counting[done : done + room]
            for index in range(len(self.folds)):
                self.advance_one(customer, index, piece)
            customer.last = piece[-1].order
            done += len(piece)
            if customer.touchpoints + done - customer.checkpointed >= self.checkpoint_every:
                customer.checkpointed = customer.touchpoints + done
                self._checkpoint(customer, customer.last)

    def advance_one(self, customer: Customer, index: int, touchpoints: Iterable[Touchpoint]) -> None:
        """Fold touchpoints in order in one lifecycle."""
        fold, state, facts = self.folds[index], customer.states[index], list[Fact]()
        moves = 0 if state is None else state.moves
        step = fold.fold
        for touchpoint in touchpoints:
            state = step(state, touchpoint, facts)
        customer.states[index] = state
        if facts:
            self._publish_in_order(customer, index, facts, moves)

    def fire(self, customer: Customer, until: int) -> None:
        """Fire the timers that are due at or before an instant."""
        for index, fold in enumerate(self.folds):
            state = customer.states[index]
            if state is not None and state.due <= until:
                moves, facts = state.moves, list[Fact]()
                fold.fire(state, until, facts)
                if facts:
                    self._publish_in_order(customer, index, facts, moves)
        customer.fired_through = max(customer.fired_through, until)

    def _publish_in_order(self, customer: Customer, index: int, facts: list[Fact], moves: int) -> None:
        fold = self.folds[index]
        self.note_history(customer, index, facts, moves)
        self.publish(customer, index, publication_of(customer.published[index], facts, fold.timeline))

    def note_history(self, customer: Customer, index: int, facts: Sequence[Fact], moves: int) -> None:
        """Append canonical facts; ``moves`` is how many moves came before them."""
        rows, name, no = self.changes.history, self.names[index], customer.facts[index]
        for fact in facts:
            no += 1
            if isinstance(fact, Move):
                moves += 1
                rows.append(
                    (
                        customer.customer_id, name, no, "move", moves, fact.occurred_at, fact.version, fact.to_stage,
                        fact.from_stage, fact.kind, fact.reason_kind, fact.reason_text, fact.touchpoint_id,
                        fact.previous_stage_seconds, None, None, None, fact.backfill,
                    )
                )  # fmt: skip
            elif isinstance(fact, Stall):
                rows.append(
                    (
                        customer.customer_id, name, no, "stall", moves, fact.due_at, fact.version, fact.stage,
                        None, None, None, None, None, None, fact.level, fact.since, None, fact.backfill,
                    )
                )  # fmt: skip
            else:
                rows.append(
                    (
                        customer.customer_id, name, no, "recovery", moves, fact.occurred_at, fact.version, fact.stage,
                        None, None, None, None, fact.touchpoint_id, None, None, None, fact.stalled_seconds,
                        fact.backfill,
                    )
                )  # fmt: skip
        customer.facts[index] = no

    def publish(self, customer: Customer, index: int, publication: Publication) -> None:
        """Queue facts for publication, and count them."""
        changes, name, builder = self.changes, self.names[index], self.builder
        for numbered in publication.facts:
            changes.outbox.append(builder.fact(customer.customer_id, customer.incarnation, name, numbered))
            fact = numbered.fact
            if isinstance(fact, Move):
                changes.moves[name, fact.kind, fact.reason_kind] += 1
            elif isinstance(fact, Stall):
                changes.stalls[name, str(fact.level)] += 1
            else:
                changes.recoveries[name] += 1
        if publication.stage_changed:
            left = customer.states[index] is None
            changes.stages[customer.customer_id, name] = None if left else customer.published[index]

    async def publish_latest_stages(self) -> None:
        """Queue a record of the compacted topic for each stage that the transaction changed."""
        changes, builder = self.changes, self.builder
        for index, ((customer_id, name), published) in enumerate(changes.stages.items()):
            if index % YIELD_EVERY == YIELD_EVERY - 1:
                await asyncio.sleep(0)
            if published is None:
                changes.outbox.append(builder.no_stage(customer_id, name))
            else:
                incarnation = changes.customers[customer_id].incarnation
                changes.outbox.append(builder.latest_stage(customer_id, incarnation, name, published))

    def _checkpoint(self, customer: Customer, order: Order) -> None:
        states = {
            name: [None if state is None else state.dump(), facts]
            for name, state, facts in zip(self.names, customer.states, customer.facts, strict=True)
        }
        self.changes.checkpoints.append((customer.customer_id, *order, orjson.dumps(states)))
