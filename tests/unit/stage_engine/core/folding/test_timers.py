"""The timers of the fold: stalls, lapses and recoveries, each in the smallest life that shows it."""

from typing import Any

import pytest
from touchline_schemas.definitions.durations import DAY
from touchline_stage_engine.core.folding.facts import Fact, Move, Recovery, Stall

from tests.support.engine.small_lives import OUTBOUND, fold_of, lived, touchpoints

PATIENT = """
stages:
  - {name: a, stall: {after: 3d, then: [5d]}, lapse: {after: 9d, to: b}}
  - {name: b, lapse: {after: 2d, to: c}}
  - {name: c, stall: {after: 4d}}
"""


def told(facts: list[Fact]) -> list[tuple[str, float]]:
    """Facts in short, with the day."""
    short = []
    for fact in facts:
        if isinstance(fact, Move):
            short.append((f"{fact.kind} {fact.to_stage}", fact.occurred_at / DAY))
        elif isinstance(fact, Stall):
            short.append((f"stall {fact.stage} {fact.level}", fact.due_at / DAY))
        else:
            short.append((f"recovery {fact.stage}", fact.occurred_at / DAY))
    return short


def test_timers_cascade_from_the_instants_they_were_due() -> None:
    _, facts = lived(fold_of(PATIENT), (0, "hello"), until=100)
    assert told(facts) == [
        ("enter a", 0), ("stall a 1", 3), ("stall a 2", 5), ("lapse b", 9), ("lapse c", 11), ("stall c 1", 15),
    ]  # fmt: skip


def test_a_timer_due_at_the_instant_of_a_touchpoint_fires_first() -> None:
    _, facts = lived(fold_of(PATIENT), (0, "hello"), (3, "hello"))
    assert told(facts) == [("enter a", 0), ("stall a 1", 3), ("recovery a", 3)]
    state, facts = lived(fold_of(PATIENT), (0, "hello"), (9, "hello"))
    assert told(facts)[-1] == ("lapse b", 9)
    assert state is not None
    assert state.next_due == 11 * DAY


def test_at_the_same_instant_a_stall_comes_before_the_lapse() -> None:
    fold = fold_of("stages: [{name: a, stall: {after: 3d}, lapse: {after: 72h, to: b}}, {name: b}]")
    _, facts = lived(fold, (0, "hello"), until=3)
    assert told(facts) == [("enter a", 0), ("stall a 1", 3), ("lapse b", 3)]


def test_a_stall_level_later_than_the_lapse_never_comes() -> None:
    fold = fold_of("stages: [{name: a, stall: {after: 3d, then: [9d]}, lapse: {after: 5d, to: b}}, {name: b}]")
    _, facts = lived(fold, (0, "hello"), until=50)
    assert told(facts) == [("enter a", 0), ("stall a 1", 3), ("lapse b", 5)]


def test_an_activity_recovers_before_it_moves_and_patience_starts_again() -> None:
    fold = fold_of("stages: [{name: a, stall: {after: 3d, then: [5d]}, rules: [{when: go, to: b}]}, {name: b}]")
    _, facts = lived(fold, (0, "hello"), (6, "hello"), (9.5, "go"))
    assert told(facts) == [
        ("enter a", 0), ("stall a 1", 3), ("stall a 2", 5), ("recovery a", 6), ("stall a 1", 9), ("recovery a", 9.5),
        ("advance b", 9.5),
    ]  # fmt: skip
    recoveries = [fact for fact in facts if isinstance(fact, Recovery)]
    assert [fact.stalled_seconds for fact in recoveries] == [3 * 86400, 0.5 * 86400], "since the first level was due"
    stalls = [fact for fact in facts if isinstance(fact, Stall)]
    assert [fact.since / DAY for fact in stalls] == [0, 0, 6]


@pytest.mark.parametrize(
    ("kind", "fields"), [("cancelled", {}), ("watched", {}), ("hello", OUTBOUND), ("hello", {"machine": True})]
)
def test_what_is_no_activity_lets_patience_run_on(kind: str, fields: dict[str, Any]) -> None:
    fold = fold_of("passive: [watched]\nstages: [{name: a, stall: {after: 3d}}]")
    _, facts = lived(fold, (0, "hello"), (2, kind, fields), until=4)
    assert told(facts) == [("enter a", 0), ("stall a 1", 3)]


@pytest.mark.parametrize(("kind", "fields"), [("cancelled", {}), ("contacted", OUTBOUND)])
def test_a_move_by_what_is_no_activity_ends_a_stall_without_a_recovery(kind: str, fields: dict[str, Any]) -> None:
    fold = fold_of(
        "stages: [{name: a, stall: {after: 3d}, rules: [{when: [cancelled, contacted], direction: any, to: b}]},"
        " {name: b, stall: {after: 3d}}]"
    )
    _, facts = lived(fold, (0, "hello"), (4, kind, fields), until=8)
    assert told(facts) == [("enter a", 0), ("stall a 1", 3), ("advance b", 4), ("stall b 1", 7)]


def test_an_inbound_report_of_the_notifier_is_an_activity() -> None:
    fold = fold_of("stages: [{name: a, stall: {after: 3d}}]")
    _, facts = lived(fold, (0, "hello"), (2, "link_followed", {"source": "notifier"}), until=4)
    assert told(facts) == [("enter a", 0)]


def test_timers_fire_up_to_the_later_of_the_clock_and_the_last_touchpoint() -> None:
    fold = fold_of(PATIENT)
    assert told(lived(fold, (0, "hello"), (4, "hello", OUTBOUND), until=1)[1])[-1] == ("stall a 1", 3)
    assert told(lived(fold, (0, "hello"), (4, "hello", OUTBOUND), until=5)[1])[-1] == ("stall a 2", 5)


def test_a_timer_already_due_when_its_touchpoint_was_received_is_backfill() -> None:
    _, facts = lived(fold_of(PATIENT), (0, "hello", {"received_at": 9 * DAY}), until=100)
    assert [(name, fact.backfill) for (name, _), fact in zip(told(facts), facts, strict=True)] == [
        ("enter a", False), ("stall a 1", True), ("stall a 2", True), ("lapse b", True), ("lapse c", False),
        ("stall c 1", False),
    ]  # fmt: skip


def test_a_backfilled_touchpoint_flags_what_it_causes_alone() -> None:
    fold = fold_of("stages: [{name: a, stall: {after: 3d}, rules: [{when: go, to: b}]}, {name: b, stall: {after: 3d}}]")
    _, facts = lived(fold, (0, "hello"), (4, "go", {"backfill": True}), until=9)
    assert [(name, fact.backfill) for (name, _), fact in zip(told(facts), facts, strict=True)] == [
        ("enter a", False), ("stall a 1", False), ("recovery a", True), ("advance b", True), ("stall b 1", False),
    ]  # fmt: skip


def test_a_touchpoint_is_late_when_a_timer_fired_after_it() -> None:
    fold = fold_of(PATIENT)
    state, _ = lived(fold, (0, "hello"), until=4)
    early, at_once = touchpoints((2.9, "hello"), (3, "hello"))
    assert fold.is_late(state, early)
    assert not fold.is_late(state, at_once)
    assert not fold.is_late(None, early)
