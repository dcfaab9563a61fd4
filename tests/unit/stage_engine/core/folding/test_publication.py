"""Whatever order touchpoints arrive in, subscribers hear one gapless chain that ends at the true stage."""

import os
from collections.abc import Coroutine, Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from touchline_stage_engine.core.definitions.compile import compile_definition
from touchline_stage_engine.core.definitions.model import Definition
from touchline_stage_engine.core.definitions.timeline import Effective, Timeline
from touchline_stage_engine.core.folding.corrections import Numbered, Published, correct, publish
from touchline_stage_engine.core.folding.facts import Fact, Move, Recovery, Stall
from touchline_stage_engine.core.folding.fold import Fold
from touchline_stage_engine.core.folding.state import StageState
from touchline_stage_engine.core.touchpoint import Touchpoint

from tests.support.engine.one_customer import OneCustomer
from tests.support.engine.random_histories import DAY, clock, compiled, lifecycles, touchpoints


class Engine(OneCustomer):
    """One customer in one lifecycle, and what subscribers have of them."""

    def __init__(self, fold: Fold, *, checkpoint_every: int = 1000) -> None:
        super().__init__([fold], checkpoint_every=checkpoint_every)
        self.known: set[tuple[str, str]] = set()
        self.compacted: tuple[Any, ...] | None = None

    @property
    def state(self) -> StageState | None:
        return self.customer.states[0]

    @property
    def stream(self) -> list[Numbered]:
        return self.folding.stream

    def receive(self, batch: Sequence[Touchpoint]) -> None:
        new = {(one.source, one.id): one for one in batch if (one.source, one.id) not in self.known}
        self.known.update(new)
        if new:
            super().receive(list(new.values()))

    def commit(self, fold: Coroutine[Any, Any, None]) -> None:
        super().commit(fold)
        latest = self.latest()
        if ("c", self.folding.names[0]) in self.folding.changes.stages:
            self.compacted = latest
        assert self.compacted == latest, "the compacted state is written whenever anything in it changed"

    def latest(self) -> tuple[Any, ...] | None:
        state = self.state
        if state is None:
            return None
        sequence = self.customer.published[0].sequence
        return state.stage.name, state.stage.version, state.entered_at, state.level, sequence


def assert_gapless(stream: Sequence[Numbered]) -> tuple[str | None, int]:
    """The stage and the open stall's level that a subscriber ends up with, having seen nothing impossible."""
    stage, level, sequence = None, 0, 0
    for number, (fact, fact_no, at_sequence) in enumerate(stream, 1):
        assert fact_no == number
        if isinstance(fact, Move):
            sequence += 1
            assert fact.from_stage == stage != fact.to_stage
            assert (fact.kind == "enter") == (sequence == 1)
            stage, level = fact.to_stage, 0
        elif isinstance(fact, Stall):
            assert fact.stage == stage
            assert fact.level > level
            level = fact.level
        else:
            assert isinstance(fact, Recovery)
            assert fact.stage == stage
            assert level > 0
            level = 0
        assert at_sequence == sequence
    return stage, level


@settings(
    max_examples=int(os.environ.get("TOUCHLINE_TEST_EXAMPLES", "120")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(lifecycles(1), lifecycles(2), clock(), touchpoints(), st.data())
def test_any_arrival_order_ends_at_the_true_stage_by_a_gapless_chain(
    one: dict[str, Any], two: dict[str, Any], second_from: int, some: list[Touchpoint], data: st.DataObject
) -> None:
    versions = [Effective(0, compiled(one)), Effective(second_from, compiled(two))]
    fold = Fold(Timeline(versions[: data.draw(st.integers(1, 2))]))
    engine, with_checkpoints = Engine(fold), Engine(fold, checkpoint_every=1)
    arrivals = list(data.draw(st.permutations(some)))
    if data.draw(st.booleans()):
        arrivals.sort(key=lambda one: one.order)
    while arrivals:
        size = data.draw(st.integers(1, 6))
        batch, arrivals = arrivals[:size], arrivals[size:]
        batch += data.draw(st.lists(st.sampled_from(some), max_size=2))
        now = data.draw(st.one_of(st.none(), clock()))
        for one_of_both in (engine, with_checkpoints):
            one_of_both.receive(batch)
            if now is not None:
                one_of_both.tick(now)
    fired_through = engine.customer.fired_through
    state, _ = fold.refold(sorted(some, key=lambda one: one.order), fired_through)
    for one_of_both in (engine, with_checkpoints):
        one_of_both.tick(fired_through)
    assert engine.state == state
    stage, level = assert_gapless(engine.stream)
    assert stage == (None if state is None else state.stage.name)
    assert level == (0 if state is None else state.level)
    assert with_checkpoints.stream == engine.stream, "where the refold began makes no difference"


# The difference after a refold, case by case.

STAGES: dict[str, Any] = {
    "lifecycle": "shop",
    "version": 1,
    "stages": [
        {
            "name": "looking",
            "stall": {"after": "10d", "then": ["20d"]},
            "rules": [{"when": ["purchased"], "to": "next"}, {"when": ["cancelled"], "to": "next"}],
        },
        {"name": "buying", "rules": [{"when": ["sent_back"], "to": "previous"}]},
    ],
}


def touchpoint(
    day: int, kind: str = "page_viewed", direction: str = "inbound", received: int | None = None
) -> Touchpoint:
    received_at = (day if received is None else received) * DAY
    return Touchpoint(day * DAY, f"{kind}-{day}", "s", kind, "web", direction, {}, received_at=received_at)


def life(*arrivals: Touchpoint | int) -> list[Fact]:
    """What is published when touchpoints arrive one by one; a number lets the clock come to that day."""
    engine = Engine(Fold(Timeline.of(compile_definition(Definition.model_validate(STAGES)))))
    for arrival in arrivals:
        if isinstance(arrival, int):
            engine.tick(arrival * DAY)
        else:
            engine.receive([arrival])
    assert_gapless(engine.stream)
    return [numbered.fact for numbered in engine.stream]


def test_a_late_touchpoint_that_moves_the_customer_is_told_as_one_corrective_move_at_the_true_time() -> None:
    *_, move = life(touchpoint(0), touchpoint(9), touchpoint(5, "purchased"))
    assert isinstance(move, Move)
    assert (move.kind, move.from_stage, move.to_stage) == ("advance", "looking", "buying")
    assert (move.occurred_at, move.reason_kind, move.touchpoint_id) == (5 * DAY, "late_touchpoint", None)


def test_a_late_touchpoint_that_changes_nothing_is_not_told() -> None:
    assert len(life(touchpoint(0), touchpoint(9), touchpoint(5))) == 1


def test_a_stall_that_dissolves_is_told_as_a_recovery_without_a_touchpoint() -> None:
    _, stall, recovery = life(touchpoint(0), 12, touchpoint(5))
    assert isinstance(stall, Stall)
    assert recovery == Recovery("looking", 0.0, None, 5 * DAY, 1, False)


def test_a_stall_that_dissolves_into_another_stage_recovers_before_the_move() -> None:
    _, stall, recovery, move = life(touchpoint(0), 12, touchpoint(5, "purchased"))
    assert isinstance(stall, Stall)
    assert isinstance(recovery, Recovery)
    assert recovery.touchpoint_id is None
    assert isinstance(move, Move)


def test_a_stall_that_did_happen_ends_with_the_late_activity_that_ended_it() -> None:
    *_, stall, recovery = life(touchpoint(0), touchpoint(14, "email_sent", "outbound"), touchpoint(13))
    assert isinstance(stall, Stall)
    assert recovery == Recovery("looking", 3 * 86400.0, "page_viewed-13", 13 * DAY, 1, False)


def test_a_stall_that_did_happen_is_ended_by_a_passive_move_alone() -> None:
    _, stall, move = life(touchpoint(0), touchpoint(14, "email_sent", "outbound"), touchpoint(13, "cancelled"))
    assert isinstance(stall, Stall)
    assert isinstance(move, Move)
    assert move.to_stage == "buying"


def test_a_stall_left_by_a_round_trip_ends_without_a_touchpoint() -> None:
    engine = Engine(Fold(Timeline.of(compile_definition(Definition.model_validate(STAGES)))))
    engine.receive([touchpoint(0), touchpoint(14, "email_sent", "outbound")])
    engine.receive([touchpoint(12, "cancelled"), touchpoint(13, "sent_back")])
    assert_gapless(engine.stream)
    last = engine.stream[-1].fact
    assert isinstance(last, Recovery)
    assert last.touchpoint_id is None
    assert last.stalled_seconds == 2 * 86400.0


def test_a_stall_newly_due_after_a_late_move_is_told_once_at_the_level_that_is_open() -> None:
    facts = life(
        touchpoint(0),
        touchpoint(1, "purchased"),
        touchpoint(3, "email_sent", "outbound"),
        40,
        touchpoint(2, "sent_back"),
    )
    assert [type(fact) for fact in facts[2:]] == [Move, Stall]
    stall = facts[-1]
    assert isinstance(stall, Stall)
    assert (stall.level, stall.since, stall.due_at) == (2, 2 * DAY, 22 * DAY)


def test_a_stall_that_was_already_due_when_its_touchpoint_came_is_backfill() -> None:
    facts = life(touchpoint(0, received=15), 25)
    assert [fact.backfill for fact in facts if isinstance(fact, Stall)] == [True, False]


def test_a_customer_whose_every_touchpoint_went_away_comes_back_by_the_same_chain() -> None:
    fold = Fold(Timeline.of(compile_definition(Definition.model_validate(STAGES))))
    published = Published()
    state, facts = fold.refold([touchpoint(0), touchpoint(1, "purchased")], 0)
    stream = publish(published, facts, fold.timeline).facts
    erased = correct(published, None, fold.timeline, "merge", [])
    assert (erased.facts, erased.stage_changed) == ([], True)
    state, facts = fold.refold([touchpoint(5)], 0)
    again = publish(published, facts, fold.timeline)
    assert again.stage_changed
    stage, _ = assert_gapless(stream + again.facts)
    assert state is not None
    assert stage == state.stage.name == "looking"
    assert isinstance(again.facts[0].fact, Move)
    assert again.facts[0].fact.kind == "regress"


def test_a_new_definition_tells_everybody_where_they_stand_now_as_backfill() -> None:
    fold = Fold(Timeline.of(compile_definition(Definition.model_validate(STAGES))))
    state, facts = fold.refold([touchpoint(0), touchpoint(1, "purchased")], 0)
    published = Published()
    publish(published, facts, fold.timeline)
    changed = {**STAGES, "version": 2, "on_change": "refold"}
    changed["stages"] = [{"name": "looking"}, {"name": "thinking"}, {"name": "buying"}]
    changed["stages"][0]["rules"] = [{"when": ["purchased"], "to": "thinking"}]
    new = Fold(Timeline.of(compile_definition(Definition.model_validate(changed))))
    state, facts = new.refold([touchpoint(0), touchpoint(1, "purchased")], 0)
    publication = correct(published, state, new.timeline, "definition", facts, backfill=True)
    (numbered,) = publication.facts
    move = numbered.fact
    assert isinstance(move, Move)
    assert (move.kind, move.to_stage, move.reason_kind, move.backfill) == ("regress", "thinking", "definition", True)
    assert (move.version, numbered.sequence, numbered.fact_no) == (2, 3, 3)


def test_a_stall_that_a_new_definition_makes_less_bad_is_told_again_at_its_level() -> None:
    fold = Fold(Timeline.of(compile_definition(Definition.model_validate(STAGES))))
    published = Published()
    _, facts = fold.refold([touchpoint(0)], 25 * DAY)
    stream = publish(published, facts, fold.timeline).facts
    patient = {**STAGES, "version": 2, "stages": [{"name": "looking", "stall": {"after": "15d", "then": ["50d"]}}]}
    new = Fold(Timeline.of(compile_definition(Definition.model_validate(patient))))
    state, facts = new.refold([touchpoint(0)], 25 * DAY)
    reported = correct(published, state, new.timeline, "definition", facts, backfill=True).facts
    assert [type(numbered.fact) for numbered in reported] == [Recovery, Stall]
    assert assert_gapless(stream + reported) == ("looking", 1)
