"""The rules of the fold one by one, each in the smallest life that shows it."""

from typing import Any

import pytest
from touchline_schemas.durations import DAY, HOUR
from touchline_stage_engine.core.compile import compile_definition
from touchline_stage_engine.core.facts import Fact, Move, Recovery, Stall
from touchline_stage_engine.core.fold import Fold
from touchline_stage_engine.core.reading import read_definition
from touchline_stage_engine.core.state import StageState
from touchline_stage_engine.core.timeline import Effective, Timeline, UnknownVersionError
from touchline_stage_engine.core.touchpoint import Touchpoint

Line = tuple[float, str] | tuple[float, str, dict[str, Any]]


def fold_of(text: str) -> Fold:
    return Fold(Timeline.of(compile_definition(read_definition("lifecycle: shop\nversion: 1\n" + text, "shop.yaml"))))


def touchpoints(*lines: Line) -> list[Touchpoint]:
    """(day, type[, other fields]) one by one."""
    made = []
    for place, (day, kind, *rest) in enumerate(lines):
        fields: dict[str, Any] = {
            "source": "s", "channel": "web", "direction": "inbound", "properties": {}, "received_at": int(day * DAY),
        }  # fmt: skip
        fields.update(rest[0] if rest else {})
        made.append(Touchpoint(occurred_at=int(day * DAY), id=str(place), type=kind, **fields))
    return made


def lived(fold: Fold, *lines: Line, until: float = 0) -> tuple[StageState | None, list[Fact]]:
    return fold.refold(touchpoints(*lines), int(until * DAY))


def moves(facts: list[Fact]) -> list[str]:
    return [f"{fact.kind} {fact.to_stage}" for fact in facts if isinstance(fact, Move)]


def stage_after(fold: Fold, *lines: Line, until: float = 0) -> str | None:
    state, _ = lived(fold, *lines, until=until)
    return None if state is None else state.stage.name


THREE = "stages: [{name: a, rules: [{when: go, to: next}]}, {name: b, rules: [{when: go, to: next}]}, {name: c}]"
OUTBOUND = {"direction": "outbound"}


def by_hand(stage: str, lifecycle: str = "shop", **more: Any) -> dict[str, Any]:
    return {"properties": {"lifecycle": lifecycle, "stage": stage, **more}}


# Entering


@pytest.mark.parametrize("fields", [{}, OUTBOUND, {"backfill": True}])
def test_any_touchpoint_brings_a_new_customer_into_the_first_stage(fields: dict[str, Any]) -> None:
    state, facts = lived(fold_of(THREE), (3, "hello", fields))
    assert state is not None
    assert (state.stage.name, state.entered_at) == ("a", 3 * DAY)
    (move,) = facts
    assert isinstance(move, Move)
    assert (move.kind, move.from_stage, move.previous_stage_seconds) == ("enter", None, None)


def test_the_very_first_touchpoint_may_enter_and_move() -> None:
    _, facts = lived(fold_of(THREE), (3, "go"))
    assert moves(facts) == ["enter a", "advance b"]


def test_machines_and_the_notifier_enter_nobody() -> None:
    fold = fold_of(THREE)
    assert stage_after(fold, (1, "go", {"machine": True})) is None
    assert stage_after(fold, (1, "go", {"source": "notifier"})) is None
    assert stage_after(fold, (1, "stage_set", by_hand("b") | {"source": "notifier"})) is None


# Counting


def test_a_touchpoint_moves_a_customer_once_and_does_not_count_where_it_leads() -> None:
    fold = fold_of(
        "stages: [{name: a, rules: [{when: go, to: b}]}, {name: b, rules: [{when: go, count: 2, to: c}]}, {name: c}]"
    )
    assert stage_after(fold, (1, "go"), (2, "go")) == "b"
    assert stage_after(fold, (1, "go"), (2, "go"), (3, "go")) == "c"


def test_counts_start_at_zero_on_every_entry() -> None:
    fold = fold_of("rules: [{when: back, to: a}]\nstages: [{name: a, rules: [{when: go, count: 2, to: b}]}, {name: b}]")
    assert stage_after(fold, (1, "go"), (2, "go"), (3, "back"), (4, "go")) == "a"
    assert stage_after(fold, (1, "go"), (2, "go"), (3, "back"), (4, "go"), (5, "go")) == "b"


def test_a_lifecycle_wide_rule_counts_in_each_stage_anew() -> None:
    fold = fold_of("rules: [{when: go, count: 2, to: next}]\nstages: [{name: a}, {name: b}, {name: c}]")
    assert stage_after(fold, (1, "go"), (2, "go"), (3, "go")) == "b"
    assert stage_after(fold, (1, "go"), (2, "go"), (3, "go"), (4, "go")) == "c"


def test_a_window_leaves_out_what_is_exactly_as_old_as_it_is_long() -> None:
    fold = fold_of("stages: [{name: a, rules: [{when: go, count: 2, within: 10d, to: b}]}, {name: b}]")
    assert stage_after(fold, (1, "go"), (11, "go")) == "a"
    assert stage_after(fold, (1, "go"), (10.99, "go")) == "b"
    assert stage_after(fold, (1, "go"), (11, "go"), (12, "go")) == "b"


def test_all_conditions_may_be_met_in_any_order() -> None:
    fold = fold_of("stages: [{name: a, rules: [{all: [{when: x, count: 2}, {when: y}], to: b}]}, {name: b}]")
    for order in ("xxy", "xyx", "yxx"):
        assert stage_after(fold, *((day, kind) for day, kind in enumerate(order))) == "b"
    assert stage_after(fold, (0, "x"), (1, "y")) == "a"


def test_a_window_in_all_is_looked_at_when_the_last_condition_is_met() -> None:
    fold = fold_of("stages: [{name: a, rules: [{all: [{when: x, within: 5d}, {when: y}], to: b}]}, {name: b}]")
    assert stage_after(fold, (0, "x"), (4, "y")) == "b"
    assert stage_after(fold, (0, "x"), (5, "y")) == "a"


def test_one_touchpoint_counts_for_every_condition_it_matches() -> None:
    fold = fold_of('stages: [{name: a, rules: [{all: [{when: "*", count: 2}, {when: y}], to: b}]}, {name: b}]')
    assert stage_after(fold, (0, "x"), (1, "y")) == "b"


def test_rules_look_at_inbound_touchpoints_unless_they_say_otherwise() -> None:
    for direction, out, inward in (("inbound", "a", "b"), ("outbound", "b", "a"), ("any", "b", "b")):
        fold = fold_of(f"stages: [{{name: a, rules: [{{when: go, direction: {direction}, to: b}}]}}, {{name: b}}]")
        assert (stage_after(fold, (1, "go", OUTBOUND)), stage_after(fold, (1, "go"))) == (out, inward)


def test_what_the_notifier_reports_counts_for_no_rule_then_or_later() -> None:
    fold = fold_of("stages: [{name: a, rules: [{when: go, direction: any, count: 2, to: b}]}, {name: b}]")
    reported = {"source": "notifier", "direction": "outbound"}
    assert stage_after(fold, (0, "go"), (1, "go", reported), (2, "go", reported)) == "a"
    assert stage_after(fold, (0, "go"), (1, "go", reported), (2, "go")) == "b"


# Trying rules


def test_the_lifecycles_rules_come_before_the_stages_and_the_first_that_holds_moves() -> None:
    fold = fold_of("""
rules: [{when: go, channel: sales, to: c}]
stages: [{name: a, rules: [{when: go, to: b}, {when: go, to: c}]}, {name: b}, {name: c}]""")
    assert stage_after(fold, (1, "go", {"channel": "sales"})) == "c"
    assert stage_after(fold, (1, "go")) == "b"


def test_a_rule_that_leads_nowhere_from_here_gives_way_to_the_next() -> None:
    fold = fold_of("""
rules: [{when: go, to: next}, {when: go, to: a}, {when: go, to: x}]
stages: [{name: a}, {name: b}]
off_path: [{name: x}]""")
    _, facts = lived(fold, (1, "go"), (2, "go"), (3, "stage_set", by_hand("x")), (4, "go"))
    assert moves(facts) == ["enter a", "advance b", "regress a", "regress x", "advance a"]


def test_previous_of_the_first_stage_is_nowhere_even_in_a_circle() -> None:
    fold = fold_of("cyclic: true\nrules: [{when: back, to: previous}]\nstages: [{name: a}, {name: b}]")
    assert stage_after(fold, (1, "back")) == "a"


# Kinds


def test_moves_are_named_by_the_order_of_stages() -> None:
    fold = fold_of("cyclic: true\nstages: [{name: a}, {name: b}, {name: c}]\noff_path: [{name: x}, {name: y}]")
    path = ["c", "a", "b", "a", "x", "y", "a", "c", "x", "c", "b"]
    _, facts = lived(fold, *((day, "stage_set", by_hand(stage)) for day, stage in enumerate(path)))
    assert moves(facts) == [
        "enter a", "advance c", "renew a", "advance b", "regress a", "regress x", "regress y", "advance a",
        "advance c", "regress x", "advance c", "regress b",
    ]  # fmt: skip


def test_last_to_first_is_a_regress_unless_the_lifecycle_is_a_circle() -> None:
    _, facts = lived(fold_of(THREE), (1, "stage_set", by_hand("c")), (2, "stage_set", by_hand("a")))
    assert moves(facts)[-1] == "regress a"


# Manual moves


def test_a_manual_move_enters_a_new_customer_and_then_moves_them() -> None:
    state, facts = lived(fold_of(THREE), (1, "stage_set", by_hand("c", reason="imported")))
    assert moves(facts) == ["enter a", "advance c"]
    assert isinstance(facts[-1], Move)
    assert (facts[-1].reason_kind, facts[-1].reason_text) == ("manual", "imported")
    assert state is not None
    assert state.entered_at == DAY


def test_a_manual_move_that_concerns_something_else_does_nothing() -> None:
    fold = fold_of(THREE)
    for properties in (by_hand("b", lifecycle="another"), by_hand("nowhere"), {"properties": {"lifecycle": "shop"}}):
        assert stage_after(fold, (1, "stage_set", properties)) is None
        assert stage_after(fold, (0, "hello"), (1, "stage_set", properties)) == "a"


def test_a_manual_move_to_where_the_customer_is_leaves_everything_as_it_was() -> None:
    fold = fold_of("stages: [{name: a, stall: {after: 5d}, rules: [{when: go, count: 2, to: b}]}, {name: b}]")
    state, facts = lived(fold, (0, "go"), (7, "stage_set", by_hand("a")))
    assert state is not None
    assert (state.entered_at, state.level) == (0, 1)
    assert [type(fact) for fact in facts] == [Move, Stall]
    assert stage_after(fold, (0, "go"), (7, "stage_set", by_hand("a")), (8, "go")) == "b"


def test_a_manual_move_is_no_activity_and_counts_for_no_rule() -> None:
    fold = fold_of("""
rules: [{when: "*", count: 2, to: c}]
stages: [{name: a, stall: {after: 5d}}, {name: b, stall: {after: 5d}}, {name: c}]""")
    state, facts = lived(fold, (0, "hello"), (6, "stage_set", by_hand("b")), (7, "stage_set", by_hand("a")))
    assert [type(fact) for fact in facts] == [Move, Stall, Move, Move], "it ends the stall without a recovery"
    assert state is not None
    assert state.stage.name == "a"


# Timers

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


# Versions


def versions(*texts: str, starts: tuple[float, ...] = (), on_change: str = "pin") -> Timeline:
    made = []
    for number, text in enumerate(texts, 1):
        head = f"lifecycle: shop\nversion: {number}\non_change: {on_change}\n"
        start = int(starts[number - 1] * DAY) if starts else 0
        made.append(Effective(start, compile_definition(read_definition(head + text, "shop.yaml"))))
    return Timeline(reversed(made))


OLD = "stages: [{name: a, rules: [{when: go, to: b}]}, {name: b, rules: [{when: go, to: gone}]}, {name: gone}]"
NEW = "stages: [{name: new}, {name: a}, {name: b, rules: [{when: go, to: new}]}]"


def test_pinned_customers_keep_their_version_until_their_first_move_after_the_new_one() -> None:
    fold = Fold(versions(OLD, NEW, starts=(0, 10)))
    state, facts = lived(fold, (0, "hello"), (10, "hello"), (11, "go"), (12, "go"))
    assert moves(facts) == ["enter a", "advance b", "regress new"]
    assert [fact.version for fact in facts] == [1, 2, 2]
    assert stage_after(fold, (10, "hello")) == "new", "who enters then enters under the new version"
    assert stage_after(fold, (9.99, "hello")) == "a"
    assert state is not None


def test_a_move_to_a_stage_the_new_version_does_not_know_keeps_the_old_one_going() -> None:
    fold = Fold(versions(OLD, NEW, starts=(0, 2)))
    _, facts = lived(fold, (0, "hello"), (1, "go"), (3, "go"), (4, "stage_set", by_hand("new")))
    assert moves(facts) == ["enter a", "advance b", "advance gone", "advance new"]
    assert [fact.version for fact in facts] == [1, 1, 1, 2]


def test_a_refolding_version_stands_in_for_those_before_it_over_the_whole_history() -> None:
    timeline = versions(OLD, NEW, starts=(0, 10), on_change="refold")
    assert stage_after(Fold(timeline), (0, "hello")) == "new"
    old = Fold(versions(OLD))
    state, _ = lived(old, (0, "hello"))
    assert state is not None
    with pytest.raises(UnknownVersionError):
        StageState.load(state.dump(), timeline)


def test_a_timeline_is_of_one_lifecycle_with_each_version_once() -> None:
    one = compile_definition(read_definition("lifecycle: shop\nversion: 1\n" + THREE, "shop.yaml"))
    other = compile_definition(read_definition("lifecycle: other\nversion: 2\n" + THREE, "other.yaml"))
    for made in ([], [one, one], [one, other]):
        with pytest.raises(ValueError, match=r"timeline|version"):
            Timeline([Effective(0, lifecycle) for lifecycle in made])


def test_a_state_is_small_and_reads_back() -> None:
    fold = fold_of("stages: [{name: a, rules: [{when: go, count: 9, within: 30d, to: b}]}, {name: b}]")
    state, _ = lived(fold, (1, "go"), (2, "go"))
    assert state is not None
    assert state.dump() == [1, "a", DAY, DAY, 0, 0, 1, [[DAY, 2 * DAY]]]
    again = StageState.load(state.dump(), fold.timeline)
    assert again == state
    assert again.next_due is None
    again.counters[0].append(HOUR)  # type: ignore[union-attr]
    assert again != state
