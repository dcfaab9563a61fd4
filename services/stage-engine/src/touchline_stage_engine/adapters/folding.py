"""Folding customers in memory, and noting in `Changes` what has to be written and published. No I/O.

Two ways lead to a new state. `advance`: the touchpoints sort after everything folded, and their facts are published
one by one. `Refold`: history is folded again, and the difference from what was published is.
"""

import hashlib
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import orjson

from touchline_stage_engine.adapters.changes import Changes
from touchline_stage_engine.adapters.customers import Customer
from touchline_stage_engine.adapters.outgoing import Publisher
from touchline_stage_engine.core.facts import Fact, Move, Stall
from touchline_stage_engine.core.fold import Fold
from touchline_stage_engine.core.publication import Cause, Publication, correct, publish
from touchline_stage_engine.core.state import StageState
from touchline_stage_engine.core.touchpoint import Order, Touchpoint

START: Order = (-(1 << 62), "", "")
"""Before every touchpoint."""
END: Order = (1 << 62, "", "")
"""After every touchpoint."""


class Past(NamedTuple):
    """What is past where a definition begins to hold a customer.

    Attributes:
        until: up to here.
        caught_up: whether everything that occurred up to then is known, so that its timers may be fired.
    """

    until: int
    caught_up: bool


class Landmark(NamedTuple):
    """A stored checkpoint by its place in the order and the SHA-256 of its states."""

    order: Order
    digest: bytes


class Folding:
    """One partition's folds over the running lifecycles.

    Args:
        generation: what the definitions (and rebuilds) are now; customers of another one are stale.
    """

    def __init__(self, folds: Sequence[Fold], generation: int, publisher: Publisher, checkpoint_every: int) -> None:
        self.folds = folds
        self.names = [fold.name for fold in folds]
        self.generation = generation
        self.publisher = publisher
        self.checkpoint_every = checkpoint_every
        self.changes = Changes()

    def new_customer(self, customer_id: str) -> Customer:
        """A customer nobody has heard of."""
        return Customer(customer_id, len(self.folds), self.generation)

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
        # Checkpoints lie at fixed distances: fold in pieces that end there.
        done = 0
        while done < len(counting):
            room = max(1, customer.checkpointed + self.checkpoint_every - customer.touchpoints - done)
            piece = counting[done : done + room]
            for place in range(len(self.folds)):
                self.advance_one(customer, place, piece)
            customer.last = piece[-1].order
            done += len(piece)
            if customer.touchpoints + done - customer.checkpointed >= self.checkpoint_every:
                customer.checkpointed = customer.touchpoints + done
                self._checkpoint(customer, customer.last)

    def advance_one(self, customer: Customer, place: int, touchpoints: Iterable[Touchpoint]) -> None:
        """Fold touchpoints in order in one lifecycle."""
        fold, state, facts = self.folds[place], customer.states[place], list[Fact]()
        moves = 0 if state is None else state.moves
        step = fold.fold
        for touchpoint in touchpoints:
            state = step(state, touchpoint, facts)
        customer.states[place] = state
        if facts:
            self._tell_in_order(customer, place, facts, moves)

    def fire(self, customer: Customer, until: int) -> None:
        """Fire the timers due at or before an instant, as the clock has passed it."""
        for place, fold in enumerate(self.folds):
            state = customer.states[place]
            if state is not None and state.due <= until:
                moves, facts = state.moves, list[Fact]()
                fold.fire(state, until, facts)
                if facts:
                    self._tell_in_order(customer, place, facts, moves)
        customer.fired_through = max(customer.fired_through, until)

    def _tell_in_order(self, customer: Customer, place: int, facts: list[Fact], moves: int) -> None:
        fold = self.folds[place]
        self.note_history(customer, place, facts, moves)
        self.tell(customer, place, publish(customer.published[place], facts, fold.timeline))

    def note_history(self, customer: Customer, place: int, facts: Sequence[Fact], moves: int) -> None:
        """Append canonical facts; ``moves`` is how many moves came before them."""
        rows, name, no = self.changes.history, self.names[place], customer.facts[place]
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
        customer.facts[place] = no

    def tell(self, customer: Customer, place: int, publication: Publication) -> None:
        """Queue what subscribers are to hear, and count it."""
        changes, name, publisher = self.changes, self.names[place], self.publisher
        for numbered in publication.facts:
            changes.outbox.append(publisher.fact(customer.customer_id, customer.incarnation, name, numbered))
            fact = numbered.fact
            if isinstance(fact, Move):
                changes.moves[name, fact.kind, fact.reason_kind] += 1
            elif isinstance(fact, Stall):
                changes.stalls[name, str(fact.level)] += 1
            else:
                changes.recoveries[name] += 1
        if publication.stage_changed:
            left = customer.states[place] is None
            changes.stages[customer.customer_id, name] = None if left else customer.published[place]

    def tell_latest_stages(self) -> None:
        """Queue the compacted topic's records: one for each stage that a transaction changed, however often."""
        changes, publisher = self.changes, self.publisher
        for (customer_id, name), published in changes.stages.items():
            if published is None:
                changes.outbox.append(publisher.no_stage(customer_id, name))
            else:
                incarnation = changes.customers[customer_id].incarnation
                changes.outbox.append(publisher.latest_stage(customer_id, incarnation, name, published))

    def _checkpoint(self, customer: Customer, order: Order) -> None:
        states = {
            name: [None if state is None else state.dump(), facts]
            for name, state, facts in zip(self.names, customer.states, customer.facts, strict=True)
        }
        self.changes.checkpoints.append((customer.customer_id, *order, orjson.dumps(states)))


class Refold:
    """Folding a customer's history again, in some or all lifecycles, from a checkpoint or from the beginning.

    Feed it the stored touchpoints in order until it has met what was folded before, or to the end; then `finish`.

    Args:
        checkpoint: the row to begin from; None: the beginning.
        ahead: checkpoints after every touchpoint that is new, in order. Where the states and the facts so far come out
            as one of them has them, whatever follows is as it was: nothing more need be read.
    """

    def __init__(
        self,
        folding: Folding,
        customer: Customer,
        places: Sequence[int],
        cause: Cause,
        checkpoint: Any | None = None,
        *,
        ahead: Sequence[Landmark] = (),
        backfill: bool = False,
    ) -> None:
        self._folding = folding
        self._customer = customer
        self._cause: Cause = cause
        self._backfill = backfill
        self._places = places
        self._whole = len(places) == len(folding.folds)
        self._ahead = deque(ahead if self._whole else ())
        self._since_checkpoint = 0
        self.met: Order | None = None
        self.begin: Order = START
        saved: dict[str, Any] = {}
        if checkpoint is not None:
            self.begin = (checkpoint["occurred_at"], checkpoint["id"], checkpoint["source"])
            saved = orjson.loads(checkpoint["states"])
        self._starts: dict[int, StageState | None] = {}
        self._states: dict[int, StageState | None] = {}
        self._facts: dict[int, list[Fact]] = {}
        self._kept: dict[int, int] = {}
        for place in places:
            fold = folding.folds[place]
            state, kept = saved.get(fold.name, (None, 0))
            start = None if state is None else StageState.load(state, fold.timeline)
            self._starts[place] = start
            self._states[place] = None if start is None else start.copy()
            self._facts[place] = []
            self._kept[place] = kept

    @property
    def next_landmark(self) -> Order | None:
        """Where it may meet what was folded before; None where it won't any more."""
        return self._ahead[0].order if self._ahead else None

    @property
    def cuts(self) -> list[tuple[str, str, int, int | None]]:
        """(customer, lifecycle, facts to keep, facts up to which to go; None: all): once fed, what of history goes."""
        names, customer_id = self._folding.names, self._customer.customer_id
        return [
            (
                customer_id, names[place], self._kept[place],
                None if self.met is None else self._kept[place] + len(self._facts[place]),
            )
            for place in self._places
        ]  # fmt: skip

    @property
    def replaces_checkpoints(self) -> tuple[str, Order, Order | None] | None:
        """(customer, after here, before here): once fed, which checkpoints go; None where they stay as they are."""
        return (self._customer.customer_id, self.begin, self.met) if self._whole else None

    def feed(self, touchpoints: Sequence[Touchpoint]) -> bool:
        """Fold some more of the history; whether it has met what was folded before, and needs no more."""
        folding = self._folding
        counting = [touchpoint for touchpoint in touchpoints if not touchpoint.machine]
        done = 0
        while done < len(counting) and self.met is None:
            # Where landmarks lie ahead they stay the checkpoints; between two, another only where they are far apart.
            limit = folding.checkpoint_every * (2 if self._ahead else 1)
            piece = counting[done : done + max(1, limit - self._since_checkpoint)]
            landmark = None
            if self._ahead and piece[-1].order >= self._ahead[0].order:
                landmark = self._ahead.popleft()
                piece = piece[: bisect_right(piece, landmark.order, key=lambda touchpoint: touchpoint.order)]
            for place in self._places:
                step, state, facts = folding.folds[place].fold, self._states[place], self._facts[place]
                for touchpoint in piece:
                    state = step(state, touchpoint, facts)
                self._states[place] = state
            done += len(piece)
            self._since_checkpoint += len(piece)
            if landmark is not None:
                self._reach(landmark)
            elif self._whole and self._since_checkpoint >= limit:
                self._checkpoint(piece[-1].order, self._dump())
        return self.met is not None

    def _reach(self, landmark: Landmark) -> None:
        states = self._dump()
        if hashlib.sha256(states).digest() == landmark.digest:
            self.met = landmark.order
        else:
            self._checkpoint(landmark.order, states)

    def _dump(self) -> bytes:
        folding, states = self._folding, {}
        for place in self._places:
            state = self._states[place]
            dumped = None if state is None else state.dump()
            states[folding.names[place]] = [dumped, self._kept[place] + len(self._facts[place])]
        return orjson.dumps(states)

    def _checkpoint(self, order: Order, states: bytes) -> None:
        self._since_checkpoint = 0
        self._folding.changes.checkpoints.append((self._customer.customer_id, *order, states))

    def finish(self, fired_through: int, past: Past | None = None) -> None:
        """Fire the timers the clock had fired, note the canonical facts, and publish the difference.

        Args:
            past: set where the definitions have changed. A lifecycle that holds the customer by the version it did
                before goes on as if nothing had happened: what is due in it is still to be fired, as news.
        """
        customer, folding = self._customer, self._folding
        fired = max(customer.fired_through, fired_through)
        customer.fired_through = max(fired, past.until) if past is not None and past.caught_up else fired
        for place in self._places:
            fold, start = folding.folds[place], self._starts[place]
            state, facts = self._states[place], self._facts[place]
            if self.met is not None:
                # History ends as it did: it is as if the refold had begun there, with nothing to fold.
                self._note(place, self._kept[place], start, facts, customer.facts[place])
                state, facts = customer.states[place], []
                start = None if state is None else state.copy()
                kept = customer.facts[place]
            else:
                kept = self._kept[place]
            if state is not None:
                through, published = fired, customer.published[place]
                if past is not None and state.stage.version != published.version:
                    published.past_until = past.until
                    through = customer.fired_through
                fold.fire(state, through, facts)
            customer.states[place] = state
            self._note(place, kept, start, facts)
            publication = correct(
                customer.published[place], state, fold.timeline, self._cause, facts, start,
                backfill=self._backfill,
            )  # fmt: skip
            folding.tell(customer, place, publication)
        if self._whole:
            if self.met is None:
                customer.checkpointed = customer.touchpoints - self._since_checkpoint
            customer.stale = False

    def _note(
        self, place: int, kept: int, start: StageState | None, facts: Sequence[Fact], total: int | None = None
    ) -> None:
        """Note canonical facts that follow on those kept; ``total``: how many there are then, where more follow."""
        customer = self._customer
        customer.facts[place] = kept
        self._folding.note_history(customer, place, facts, 0 if start is None else start.moves)
        if total is not None:
            customer.facts[place] = total
