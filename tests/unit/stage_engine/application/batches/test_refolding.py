"""A refold that stops where it meets what was folded before leaves exactly what a refold to the end leaves."""

import os
from typing import Any

import orjson
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from touchline_stage_engine.core.definitions.timeline import Timeline
from touchline_stage_engine.core.folding.facts import Fact
from touchline_stage_engine.core.folding.fold import Fold
from touchline_stage_engine.core.folding.state import StageState
from touchline_stage_engine.core.touchpoint import Order, Touchpoint

from tests.support.engine.one_customer import OneCustomer
from tests.support.engine.random_histories import DAY, HALF_HOUR, clock, compiled, lifecycles, touchpoints

THOROUGH = settings(
    max_examples=int(os.environ.get("TOUCHLINE_EXAMPLES", "200")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
EVERY = 3


class Tables(OneCustomer):
    """A customer, and what a refold leaves of them."""

    def reported(self) -> Any:
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
            again = Tables(self.folding.folds, stops_early=False, checkpoint_every=EVERY)
            line = [one for one in self.touchpoints if one.order <= order and not one.machine]
            again.folding.advance(again.customer, line)
            again.folding._checkpoint(again.customer, order)
            assert self.after_timers(order, again.folding.changes.checkpoints[-1][-1]) == self.after_timers(
                order, states
            )

    def after_timers(self, order: Order, checkpoint: bytes) -> dict[str, tuple[Any, int]]:
        """A checkpoint's states and numbers of facts, once every timer due at its place has fired.

        A manual move in another lifecycle fires no timers. So a timer due before it may have fired by the clock, or be
        still open, when a checkpoint is written after it: whatever follows fires it first.
        """
        stored = orjson.loads(checkpoint)
        found: dict[str, tuple[Any, int]] = {}
        for fold in self.folding.folds:
            dumped, number = stored[fold.name]
            facts: list[Fact] = []
            if dumped is None:
                found[fold.name] = (None, number)
                continue
            state = StageState.load(dumped, fold.timeline)
            fold.fire(state, order[0], facts)
            found[fold.name] = (state.dump(), number + len(facts))
        return found


@st.composite
def arrivals(draw: st.DrawFn) -> list[list[Touchpoint] | int]:
    """Batches of one customer's touchpoints, most of them early on and in order, and readings of the clock."""
    line = sorted(draw(touchpoints(40)), key=lambda one: one.order)
    late = draw(st.sets(st.sampled_from(range(len(line))), max_size=6)) if line else set()
    steps: list[list[Touchpoint] | int] = []
    prompt = [one for index, one in enumerate(line) if index not in late]
    cut = draw(st.integers(0, len(prompt)))
    steps.append(prompt[:cut])
    if draw(st.booleans()):
        steps.append(draw(clock()))
    steps.append(prompt[cut:])
    left = draw(st.permutations([line[index] for index in sorted(late)]))
    while left:
        number = draw(st.integers(1, len(left)))
        steps.append(left[:number])
        left = left[number:]
        if draw(st.integers(0, 3)) == 0:
            steps.append(draw(clock()))
    return steps


PATIENT = {
    "lifecycle": "random",
    "version": 1,
    "stages": [{"name": "a", "stall": {"after": "3h", "then": []}}],
}


def made(number: int, at: int, kind: str = "t0", **properties: str) -> Touchpoint:
    return Touchpoint(at, str(number), "s", kind, "web", "inbound", properties, received_at=at)


@THOROUGH
@given(st.lists(lifecycles(), min_size=1, max_size=2), arrivals())
@example(  # The clock fires a stall; then a checkpoint is due at a manual move in another lifecycle.
    [PATIENT],
    [
        [made(0, 0), made(1, 0)],
        12 * HALF_HOUR,
        [made(2, 10 * HALF_HOUR, "stage_set", lifecycle="another", stage="a")],
        [made(3, HALF_HOUR)],
    ],
)
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
        assert early.reported() == whole.reported()
        early.assert_checkpoints_hold()
        whole.assert_checkpoints_hold()


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
    for index in (2999, 1500, 1):
        tables.read = 0
        tables.receive([viewed(9000 + index, index * HALF_HOUR - 1)])
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
