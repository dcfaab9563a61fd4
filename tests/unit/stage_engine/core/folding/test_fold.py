"""The rules of the fold one by one, each in the smallest life that shows it."""

from typing import Any

import pytest
from touchline_schemas.definitions.durations import DAY
from touchline_stage_engine.core.folding.facts import Move, Stall

from tests.support.engine.small_lives import OUTBOUND, THREE, by_hand, fold_of, lived, moves, stage_after

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
