"""A refold that stops where it meets what was folded before leaves exactly what a refold to the end leaves."""

import hashlib
import os
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_lives import DAY, HALF_HOUR, clock, compiled, lifecycles, touchpoints
from touchline_stage_engine.adapters.changes import Changes
from touchline_stage_engine.adapters.folding import Folding, Landmark, Refold
from touchline_stage_engine.adapters.outgoing import Publisher
from touchline_stage_engine.core.fold import Fold
from touchline_stage_engine.core.timeline import Timeline
from touchline_stage_engine.core.touchpoint import Order, Touchpoint

THOROUGH = settings(
    max_examples=int(os.environ.get("TOUCHLINE_EXAMPLES", "200")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
EVERY = 3


class Tables:
    """One customer, and what is stored of them: touchpoints, history, checkpoints, and what was sent."""

    def __init__(self, folds: Sequence[Fold], *, stops_early: bool) -> None:
        publisher = Publisher(0)
        publisher.decided_at = "2026-01-01T00:00:00Z"
        self.folding = Folding(folds, 1, publisher, EVERY)
        self.customer = self.folding.new_customer("c")
        self.stops_early = stops_early
        self.touchpoints: list[Touchpoint] = []
        self.history: dict[tuple[str, int], Any] = {}
        self.checkpoints: dict[Order, bytes] = {}
        self.sent: list[Any] = []
        self.read = 0

    def receive(self, batch: Sequence[Touchpoint], fired_through: int = 0) -> None:
        """Fold a batch in order, or again from the checkpoint before its first touchpoint."""
        folding, customer = self.folding, self.customer
        batch = sorted(batch, key=lambda one: one.order)
        self.touchpoints = sorted([*self.touchpoints, *batch], key=lambda one: one.order)
        first = next((one for one in batch if not one.machine), None)
        if first is None or not folding.is_late(customer, first):
            folding.advance(customer, batch)
            customer.touchpoints += len(batch)
        else:
            customer.touchpoints += len(batch)
            self.fold_again(batch, first.order, fired_through)
        self.write()

    def fold_again(self, batch: Sequence[Touchpoint], since: Order, fired_through: int) -> None:
        """What was new comes at and after `since`."""
        customer = self.customer
        before = max((order for order in self.checkpoints if order < since), default=None)
        row = None
        if before is not None:
            row = {"occurred_at": before[0], "id": before[1], "source": before[2], "states": self.checkpoints[before]}
        ahead = [
            Landmark(order, hashlib.sha256(states).digest())
            for order, states in sorted(self.checkpoints.items())
            if self.stops_early and order > batch[-1].order
        ]
        places = range(len(self.folding.folds))
        refold = Refold(self.folding, customer, places, "late_touchpoint", row, ahead=ahead)
        customer.last = max(one.order for one in self.touchpoints if not one.machine)
        # By twos, so that stretches end anywhere between the places where it may stop.
        following = [one for one in self.touchpoints if one.order > refold.begin]
        for begin in range(0, len(following), 2):
            self.read += len(following[begin : begin + 2])
            if refold.feed(following[begin : begin + 2]):
                break
        for _, name, kept, through in refold.cuts:
            for key in [key for key in self.history if key[0] == name]:
                if key[1] > kept and (through is None or key[1] <= through):
                    del self.history[key]
        assert refold.replaces_checkpoints is not None
        _, after, until = refold.replaces_checkpoints
        for order in list(self.checkpoints):
            if order > after and (until is None or order < until):
                del self.checkpoints[order]
        refold.finish(fired_through)
        if refold.met is not None:
            customer.checkpointed += len(batch)

    def tick(self, now: int) -> None:
        """Fire what is due."""
        self.folding.fire(self.customer, now)
        self.write()

    def write(self) -> None:
        """What a transaction writes."""
        changes = self.folding.changes
        for row in changes.history:
            assert (row[1], row[2]) not in self.history
            self.history[row[1], row[2]] = row
        for _, at, id_, source, states in changes.checkpoints:
            assert (at, id_, source) not in self.checkpoints
            self.checkpoints[at, id_, source] = states
        self.sent += changes.outbox
        self.folding.changes = Changes()

    def told(self) -> Any:
        """Everything but the checkpoints, which may lie elsewhere."""
        customer = self.customer
        return (
            [None if state is None else state.dump() for state in customer.states],
            [published.dump() for published in customer.published],
            customer.facts,
            customer.fired_through,
            customer.last,
            sorted(self.history.items()),
            self.sent,
        )

    def assert_checkpoints_hold(self) -> None:
        """Each has the states and the number of facts that folding everything up to its place gives."""
        for order, states in self.checkpoints.items():
            again = Tables(self.folding.folds, stops_early=False)
            line = [one for one in self.touchpoints if one.order <= order and not one.machine]
            again.folding.advance(again.customer, line)
            again.folding._checkpoint(again.customer, order)
            assert again.folding.changes.checkpoints[-1][-1] == states


@st.composite
def arrivals(draw: st.DrawFn) -> list[list[Touchpoint] | int]:
    """Batches of one customer's touchpoints, most of them early on and in order, and readings of the clock."""
    line = sorted(draw(touchpoints(40)), key=lambda one: one.order)
    late = draw(st.sets(st.sampled_from(range(len(line))), max_size=6)) if line else set()
    steps: list[list[Touchpoint] | int] = []
    prompt = [one for place, one in enumerate(line) if place not in late]
    cut = draw(st.integers(0, len(prompt)))
    steps.append(prompt[:cut])
    if draw(st.booleans()):
        steps.append(draw(clock()))
    steps.append(prompt[cut:])
    left = draw(st.permutations([line[place] for place in sorted(late)]))
    while left:
        number = draw(st.integers(1, len(left)))
        steps.append(left[:number])
        left = left[number:]
        if draw(st.integers(0, 3)) == 0:
            steps.append(draw(clock()))
    return steps


@THOROUGH
@given(st.lists(lifecycles(), min_size=1, max_size=2), arrivals())
def test_a_refold_that_stops_early_leaves_what_one_to_the_end_leaves(
    definitions: list[dict[str, Any]], steps: list[list[Touchpoint] | int]
) -> None:
    folds = [
        Fold(Timeline.of(compiled({**one, "lifecycle": f"random{number}"}))) for number, one in enumerate(definitions)
    ]
    early, whole = Tables(folds, stops_early=True), Tables(folds, stops_early=False)
    for step in steps:
        for tables in (early, whole):
            if isinstance(step, int):
                tables.tick(step)
            else:
                tables.receive(step)
        assert early.told() == whole.told()
        early.assert_checkpoints_hold()
        whole.assert_checkpoints_hold()


@THOROUGH
@given(st.lists(lifecycles(), min_size=1, max_size=1), touchpoints(30), st.integers(0, 29), clock())
def test_a_merge_that_brings_a_later_clock_fires_what_is_due_by_it_wherever_the_refold_stopped(
    definitions: list[dict[str, Any]], line: list[Touchpoint], chosen: int, now: int
) -> None:
    folds = [Fold(Timeline.of(compiled(definitions[0])))]
    late = [one for number, one in enumerate(line) if number == chosen]
    early, whole = Tables(folds, stops_early=True), Tables(folds, stops_early=False)
    for tables in (early, whole):
        tables.receive([one for one in line if one not in late])
        if late:
            tables.receive(late, fired_through=now)
    assert early.told() == whole.told()


LIFECYCLE = {
    "lifecycle": "plain",
    "version": 1,
    "stages": [
        {"name": "reach", "rules": [{"when": ["purchased"], "to": "next"}]},
        {"name": "buy", "stall": {"after": "30d"}},
    ],
}


def viewed(number: int, at: int) -> Touchpoint:
    return Touchpoint(at, f"t{number:06}", "shop", "page_viewed", "web", "inbound", {}, received_at=at)


def test_a_late_touchpoint_that_changes_nothing_costs_no_more_than_two_checkpoints_apart() -> None:
    tables = Tables([Fold(Timeline.of(compiled(LIFECYCLE)))], stops_early=True)
    line = [viewed(number, number * HALF_HOUR) for number in range(3000)]
    tables.receive(line)
    for place in (2999, 1500, 1):
        tables.read = 0
        tables.receive([viewed(9000 + place, place * HALF_HOUR - 1)])
        assert 1 <= tables.read <= 2 * EVERY + 2
    assert tables.customer.touchpoints - tables.customer.checkpointed <= EVERY


def test_many_late_touchpoints_at_one_place_leave_checkpoints_no_closer_than_before() -> None:
    tables = Tables([Fold(Timeline.of(compiled(LIFECYCLE)))], stops_early=True)
    tables.receive([viewed(number, number * DAY) for number in range(60)])
    before = len(tables.checkpoints)
    for number in range(120):
        tables.receive([viewed(5000 + number, 10 * DAY + number + 1)])
    assert len(tables.checkpoints) - before <= 120 // EVERY
    tables.read = 0
    tables.receive([viewed(9999, 10 * DAY)])
    assert tables.read <= 2 * EVERY + 2
    tables.assert_checkpoints_hold()
