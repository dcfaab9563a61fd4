"""Versions of a lifecycle in the fold: pinned customers, and versions that fold everybody again."""

import pytest
from touchline_schemas.definitions.durations import DAY, HOUR
from touchline_stage_engine.core.definitions.compile import compile_definition
from touchline_stage_engine.core.definitions.parse import read_definition
from touchline_stage_engine.core.definitions.timeline import Effective, Timeline, UnknownVersionError
from touchline_stage_engine.core.folding.fold import Fold
from touchline_stage_engine.core.folding.state import StageState

from tests.support.engine.small_lives import THREE, by_hand, fold_of, lived, moves, stage_after


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
