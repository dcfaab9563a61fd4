"""Folds a customer's history again and publishes the difference from what was published. No I/O."""

import hashlib
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from typing import Any

import orjson

from touchline_stage_engine.application.batches.customers import Customer
from touchline_stage_engine.application.batches.folding import (
    START,
    Checkpoint,
    CheckpointStates,
    DefinitionStart,
    Folding,
)
from touchline_stage_engine.application.values import CheckpointSpan, HistoryCut
from touchline_stage_engine.core.folding.corrections import Cause, correct
from touchline_stage_engine.core.folding.facts import Fact
from touchline_stage_engine.core.folding.state import StageState
from touchline_stage_engine.core.touchpoint import Order, Touchpoint


class Refold:
    """Folds a customer's history again, in some or all lifecycles, from a checkpoint or from the beginning.

    Feed it the stored touchpoints in order, until `feed` returns True or to the end; then call `finish`.

    Args:
        saved: the checkpoint to begin from; None: the beginning.
        ahead: stored checkpoints after every new touchpoint, in order. Where the new states and the number of facts
            equal those of one of them, everything that follows is unchanged and need not be read.
    """

    def __init__(
        self,
        folding: Folding,
        customer: Customer,
        indexes: Sequence[int],
        cause: Cause,
        saved: CheckpointStates | None = None,
        *,
        ahead: Sequence[Checkpoint] = (),
        backfill: bool = False,
    ) -> None:
        self._folding = folding
        self._customer = customer
        self._cause: Cause = cause
        self._backfill = backfill
        self._indexes = indexes
        self._whole = len(indexes) == len(folding.folds)
        self._ahead = deque(ahead if self._whole else ())
        self._since_checkpoint = 0
        self.joined_at: Order | None = None
        self.begin: Order = START
        states: dict[str, Any] = {}
        if saved is not None:
            self.begin = saved.order
            states = orjson.loads(saved.states)
        self._starts: dict[int, StageState | None] = {}
        self._states: dict[int, StageState | None] = {}
        self._facts: dict[int, list[Fact]] = {}
        self._kept: dict[int, int] = {}
        for index in indexes:
            fold = folding.folds[index]
            state, kept = states.get(fold.name, (None, 0))
            start = None if state is None else StageState.load(state, fold.timeline)
            self._starts[index] = start
            self._states[index] = None if start is None else start.copy()
            self._facts[index] = []
            self._kept[index] = kept

    @property
    def next_checkpoint(self) -> Order | None:
        """Where it may join unchanged history next; None: nowhere."""
        return self._ahead[0].order if self._ahead else None

    @property
    def cuts(self) -> list[HistoryCut]:
        """Which facts to delete, once fed."""
        names, customer_id = self._folding.names, self._customer.customer_id
        return [
            HistoryCut(
                customer_id, names[index], self._kept[index],
                None if self.joined_at is None else self._kept[index] + len(self._facts[index]),
            )
            for index in self._indexes
        ]  # fmt: skip

    @property
    def replaced_checkpoints(self) -> CheckpointSpan | None:
        """Which checkpoints to delete, once fed; None: none."""
        if self._whole:
            return CheckpointSpan(self._customer.customer_id, self.begin, self.joined_at)
        # They contain states under the earlier definitions.
        return CheckpointSpan(self._customer.customer_id, START, None) if self._cause == "definition" else None

    def feed(self, touchpoints: Sequence[Touchpoint]) -> bool:
        """Fold the next touchpoints of the history; whether the rest is unchanged and need not be read."""
        folding = self._folding
        counting = [touchpoint for touchpoint in touchpoints if not touchpoint.machine]
        done = 0
        while done < len(counting) and self.joined_at is None:
            # Stored checkpoints after this point are kept; between two, another is added only where they are far apart.
            limit = folding.checkpoint_every * (2 if self._ahead else 1)
            piece = counting[done : done + max(1, limit - self._since_checkpoint)]
            ahead = None
            if self._ahead and piece[-1].order >= self._ahead[0].order:
                ahead = self._ahead.popleft()
                piece = piece[: bisect_right(piece, ahead.order, key=lambda touchpoint: touchpoint.order)]
            for index in self._indexes:
                step, state, facts = folding.folds[index].fold, self._states[index], self._facts[index]
                for touchpoint in piece:
                    state = step(state, touchpoint, facts)
                self._states[index] = state
            done += len(piece)
            self._since_checkpoint += len(piece)
            if ahead is not None:
                self._reach(ahead)
            elif self._whole and self._since_checkpoint >= limit:
                self._checkpoint(piece[-1].order, self._dump())
        return self.joined_at is not None

    def _reach(self, stored: Checkpoint) -> None:
        states = self._dump()
        if hashlib.sha256(states).digest() == stored.digest:
            self.joined_at = stored.order
        else:
            self._checkpoint(stored.order, states)

    def _dump(self) -> bytes:
        folding, states = self._folding, {}
        for index in self._indexes:
            state = self._states[index]
            dumped = None if state is None else state.dump()
            states[folding.names[index]] = [dumped, self._kept[index] + len(self._facts[index])]
        return orjson.dumps(states)

    def _checkpoint(self, order: Order, states: bytes) -> None:
        self._since_checkpoint = 0
        self._folding.changes.checkpoints.append((self._customer.customer_id, *order, states))

    def finish(self, started: DefinitionStart | None = None) -> None:
        """Fire the timers that had fired, collect the canonical facts, and publish the difference.

        Args:
            started: set where the definitions have changed. In a lifecycle whose version for the customer has not
                changed, timers that are due still fire as new facts.
        """
        customer, folding = self._customer, self._folding
        fired = customer.fired_through
        if started is not None and started.caught_up:
            customer.fired_through = max(fired, started.until)
        for index in self._indexes:
            fold, start = folding.folds[index], self._starts[index]
            state, facts = self._states[index], self._facts[index]
            if self.joined_at is not None:
                # The rest of history is unchanged, as if the refold had begun there with nothing to fold.
                self._note(index, self._kept[index], start, facts, customer.facts[index])
                state, facts = customer.states[index], []
                start = None if state is None else state.copy()
                kept = customer.facts[index]
            else:
                kept = self._kept[index]
            if state is not None:
                through, published = fired, customer.published[index]
                if started is not None and state.stage.version != published.version:
                    published.past_until = started.until
                    through = customer.fired_through
                fold.fire(state, through, facts)
            customer.states[index] = state
            self._note(index, kept, start, facts)
            publication = correct(
                customer.published[index], state, fold.timeline, self._cause, facts, start,
                backfill=self._backfill,
            )  # fmt: skip
            folding.publish(customer, index, publication)
        if self._whole or self._cause == "definition":
            customer.folded_again(self._indexes, folding.generation, folding.generations)
        if not self._whole and self._cause == "definition":
            customer.checkpointed = 0
            if started is not None and started.caught_up:
                # The other lifecycles' timers up to then: they are new facts.
                folding.fire(customer, started.until)
        if self._whole and self.joined_at is None:
            customer.checkpointed = customer.touchpoints - self._since_checkpoint

    def _note(
        self, index: int, kept: int, start: StageState | None, facts: Sequence[Fact], total: int | None = None
    ) -> None:
        """Collect canonical facts after those kept; ``total``: how many there are then, where more follow."""
        customer = self._customer
        customer.facts[index] = kept
        self._folding.note_history(customer, index, facts, 0 if start is None else start.moves)
        if total is not None:
            customer.facts[index] = total
