"""The fast fold and the naive one tell the same life, for lifecycles and touchpoints nobody chose."""

import json
import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from touchline_stage_engine.core.definitions.timeline import Effective, Timeline
from touchline_stage_engine.core.folding.facts import Fact
from touchline_stage_engine.core.folding.fold import Fold
from touchline_stage_engine.core.folding.state import StageState
from touchline_stage_engine.core.touchpoint import Touchpoint

from tests.support.engine.naive_reference import Naive, naive_fold
from tests.support.engine.random_histories import clock, compiled, lifecycles, plain, touchpoints

EXAMPLES = int(os.environ.get("TOUCHLINE_TEST_EXAMPLES", "120"))

many = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def ordered(some: list[Touchpoint]) -> list[Touchpoint]:
    return sorted(some, key=lambda touchpoint: touchpoint.order)


def assert_same(state: StageState | None, facts: list[Fact], naive: Naive) -> None:
    assert plain(facts) == naive.happened
    if state is None:
        assert naive.stage is None
        return
    assert (state.stage.name, state.entered_at, state.level) == (naive.stage, naive.entered_at, naive.level)
    assert state.base == naive.base()
    assert state.moves == sum(1 for fact in naive.happened if fact[0] == "move")
    dues = [timer[0] for timer in naive.timers()]
    assert state.next_due == (min(dues) if dues else None)


@many
@given(lifecycles(), touchpoints(), clock())
def test_the_fold_tells_what_the_rules_say(
    definition: dict[str, Any], some: list[Touchpoint], fired_through: int
) -> None:
    fold = Fold(Timeline.of(compiled(definition)))
    state, facts = fold.refold(ordered(some), fired_through)
    assert_same(state, facts, naive_fold([(0, definition)], some, fired_through))


@many
@given(lifecycles(1), lifecycles(2), lifecycles(3), clock(), clock(), touchpoints(), clock())
def test_pinned_customers_take_up_a_new_version_with_their_first_move_in_its_time(
    one: dict[str, Any],
    two: dict[str, Any],
    three: dict[str, Any],
    second_from: int,
    third_from: int,
    some: list[Touchpoint],
    fired_through: int,
) -> None:
    versions = [(10**18, one), (second_from, two), (third_from, three)]
    timeline = Timeline([Effective(start, compiled(definition)) for start, definition in versions])
    state, facts = Fold(timeline).refold(ordered(some), fired_through)
    assert_same(state, facts, naive_fold(versions, some, fired_through))


@many
@given(lifecycles(), touchpoints(), st.lists(clock(), max_size=8), st.data())
def test_restarts_and_clock_ticks_between_touchpoints_change_nothing(
    definition: dict[str, Any], some: list[Touchpoint], ticks: list[int], data: st.DataObject
) -> None:
    fold = Fold(Timeline.of(compiled(definition)))
    state: StageState | None = None
    facts: list[Fact] = []
    for touchpoint in ordered(some):
        # The clock never fires past what is still to come in order: that would make the touchpoint a late one.
        for tick in sorted(tick for tick in ticks if tick <= touchpoint.occurred_at):
            if state is not None:
                fold.fire(state, tick, facts)
        if state is not None and data.draw(st.booleans()):
            state = StageState.load(json.loads(json.dumps(state.dump())), fold.timeline)
        if state is not None and data.draw(st.booleans()):
            before, checkpoint = state.dump(), state.copy()
            fold.fold(checkpoint, touchpoint, [])
            assert state.dump() == before, "a checkpoint shares nothing with the state it was taken from"
        assert not fold.is_late(state, touchpoint)
        state = fold.fold(state, touchpoint, facts)
    through = max(ticks, default=0)
    if state is not None:
        fold.fire(state, through, facts)
    at_once = fold.refold(ordered(some), through)
    assert (state, facts) == at_once


@many
@given(lifecycles(), touchpoints(), clock(), st.data())
def test_a_refold_from_a_checkpoint_ends_where_one_from_the_beginning_does(
    definition: dict[str, Any], some: list[Touchpoint], fired_through: int, data: st.DataObject
) -> None:
    fold = Fold(Timeline.of(compiled(definition)))
    line = ordered(some)
    cut = data.draw(st.integers(0, len(line)))
    checkpoint, before = fold.refold(line[:cut], 0)
    kept = None if checkpoint is None else checkpoint.dump()
    state, after = fold.refold(line[cut:], fired_through, checkpoint)
    assert (None if checkpoint is None else checkpoint.dump()) == kept
    assert (state, before + after) == fold.refold(line, fired_through)
