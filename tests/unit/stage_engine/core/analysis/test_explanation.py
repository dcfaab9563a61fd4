"""An explanation says what the fold has counted, for random lifecycles and lives."""

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from touchline_schemas.definitions.durations import parse_duration
from touchline_stage_engine.core.analysis.explanation import (
    condition_in_words,
    counts_after,
    evidence,
    open_rules,
    timers,
)
from touchline_stage_engine.core.definitions.model import Condition, Definition, Operators
from touchline_stage_engine.core.definitions.timeline import Timeline
from touchline_stage_engine.core.folding.facts import Fact, Move
from touchline_stage_engine.core.folding.fold import Fold
from touchline_stage_engine.core.touchpoint import Touchpoint

from tests.support.engine.random_histories import compiled, lifecycles, touchpoints


def fold(definition: dict[str, Any], life: list[Touchpoint]) -> tuple[Any, list[Fact], list[Touchpoint]]:
    ordered = sorted(life, key=lambda point: point.order)
    state, facts = Fold(Timeline.of(compiled(definition))).refold(ordered, 0)
    return state, facts, ordered


def since(move: Move, ordered: list[Touchpoint]) -> list[Touchpoint]:
    return [point for point in ordered if counts_after(move.kind, move.occurred_at, move.touchpoint_id, point)]


@given(lifecycles(), touchpoints(longest=40))
def test_every_condition_has_what_the_fold_has_counted(definition: dict[str, Any], life: list[Touchpoint]) -> None:
    state, facts, ordered = fold(definition, life)
    if state is None:
        return
    inside = since([fact for fact in facts if isinstance(fact, Move)][-1], ordered)
    now = ordered[-1].occurred_at
    model = Definition.model_validate(definition)
    shown = open_rules(model, state.stage.name, inside, now)
    written = [rule for rule in [*model.rules, *_own(model, state.stage.name)] if _leads(model, state.stage.name, rule)]
    slots = iter(state.counters)
    assert len(shown) == len(written)
    for answer, rule in zip(shown, written, strict=True):
        for condition, progress in zip(rule.conditions, answer.conditions, strict=True):
            if len(rule.conditions) == 1 and condition.count == 1:
                continue  # needs no counter
            counter = next(slots)
            if isinstance(counter, int):
                assert progress.have == counter
            else:
                within = parse_duration(condition.within or "")
                assert progress.have == sum(at > now - within for at in counter or [])
            assert progress.need == condition.count


def _own(model: Definition, stage: str) -> list[Any]:
    return next(one.rules for one in model.every_stage if one.name == stage)


def _leads(model: Definition, stage: str, rule: Any) -> bool:
    from touchline_stage_engine.core.definitions.compile import resolve_target

    return resolve_target(model, stage, rule.to) is not None


@given(lifecycles(), touchpoints(longest=40))
def test_evidence_ends_with_the_cause_and_meets_the_rule(definition: dict[str, Any], life: list[Touchpoint]) -> None:
    _, facts, ordered = fold(definition, life)
    moves = [fact for fact in facts if isinstance(fact, Move)]
    model = Definition.model_validate(definition)
    for before, move in pairwise(moves):
        if move.reason_kind != "rule":
            continue
        until = [point for point in since(before, ordered) if point not in since(move, ordered)]
        found = evidence(model, move.from_stage or "", move.to_stage, move.reason_text, until)
        assert found.rule is not None
        assert found.touchpoints[-1].id == move.touchpoint_id


@given(lifecycles(), touchpoints(longest=20))
def test_the_first_timer_is_the_one_that_fires_next(definition: dict[str, Any], life: list[Touchpoint]) -> None:
    state, _, _ = fold(definition, life)
    if state is None:
        return
    due = [timer["due_at"] for timer in timers(state.stage, state.base, state.level)]
    assert min(due, default=None) == state.next_due


@given(st.integers(1, 40), st.sampled_from(["1h", "30d", "2w", "45m", "P1D"]))
def test_conditions_read_as_words(count: int, within: str) -> None:
    text = condition_in_words(
        Condition(when=["page_viewed"], count=count, within=within, where={"properties.n": Operators(gte=3)})
    )
    assert "page viewed" in text
    assert (f"{count} × " in text) == (count > 1)
    assert text.endswith("where n ≥ 3")
