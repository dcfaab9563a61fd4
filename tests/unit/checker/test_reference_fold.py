"""The checker's fold and the engine's, written apart, agree on lifecycles and touchpoints that nobody chose."""

import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from touchline_checker.semantics import fold as reference
from touchline_checker.semantics.definitions import lifecycle_of
from touchline_checker.semantics.times import duration
from touchline_checker.semantics.touchpoints import Touchpoint as Read
from touchline_schemas.definitions.durations import parse_duration
from touchline_stage_engine.core.definitions.timeline import Effective, Timeline
from touchline_stage_engine.core.folding.facts import Fact, Move, Recovery, Stall
from touchline_stage_engine.core.folding.fold import Fold
from touchline_stage_engine.core.touchpoint import Touchpoint

from tests.support.engine.random_histories import clock, compiled, lifecycles, touchpoints

many = settings(
    max_examples=int(os.environ.get("TOUCHLINE_TEST_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def as_read(touchpoint: Touchpoint) -> Read:
    """The engine's touchpoint as the checker reads it from the topic."""
    return Read(
        touchpoint.occurred_at, touchpoint.id, touchpoint.source, touchpoint.type, touchpoint.channel,
        touchpoint.direction, touchpoint.properties, touchpoint.machine, touchpoint.backfill, touchpoint.received_at,
        "c",
    )  # fmt: skip


def as_reference(fact: Fact) -> reference.Fact:
    """The engine's fact as the checker has it."""
    if isinstance(fact, Move):
        return reference.Fact(
            "move", fact.occurred_at, fact.to_stage, fact.backfill, fact.version, move=fact.kind,
            from_stage=fact.from_stage, reason=fact.reason_kind, touchpoint_id=fact.touchpoint_id,
            seconds=fact.previous_stage_seconds,
        )  # fmt: skip
    if isinstance(fact, Stall):
        return reference.Fact(
            "stall", fact.due_at, fact.stage, fact.backfill, fact.version, level=fact.level, since=fact.since
        )
    assert isinstance(fact, Recovery)
    return reference.Fact(
        "recovery", fact.occurred_at, fact.stage, fact.backfill, fact.version, touchpoint_id=fact.touchpoint_id,
        seconds=fact.stalled_seconds,
    )  # fmt: skip


def assert_same(versions: list[tuple[int, dict[str, Any]]], some: list[Touchpoint], fired_through: int) -> None:
    timeline = Timeline([Effective(start, compiled(definition)) for start, definition in versions])
    state, facts = Fold(timeline).refold(sorted(some, key=lambda one: one.order), fired_through)
    ours = reference.fold(
        [reference.Version(lifecycle_of(definition), start) for start, definition in versions],
        [as_read(touchpoint) for touchpoint in reversed(some)],
        fired_through,
    )
    assert ours.facts == [as_reference(fact) for fact in facts]
    if state is None:
        assert ours.stage is None
        return
    assert (ours.stage, ours.entered_at, ours.level, ours.base) == (
        state.stage.name, state.entered_at, state.level, state.base,
    )  # fmt: skip
    timer = ours.next_timer()
    assert (None if timer is None else timer.due) == state.next_due


@many
@given(lifecycles(), touchpoints(), clock())
def test_one_version(definition: dict[str, Any], some: list[Touchpoint], fired_through: int) -> None:
    assert_same([(0, definition)], some, fired_through)


@many
@given(lifecycles(1), lifecycles(2), lifecycles(3), clock(), clock(), touchpoints(), clock())
def test_three_versions(
    one: dict[str, Any],
    two: dict[str, Any],
    three: dict[str, Any],
    second: int,
    third: int,
    some: list[Touchpoint],
    fired_through: int,
) -> None:
    assert_same([(10**18, one), (second, two), (third, three)], some, fired_through)


def test_durations_are_read_as_the_documentation_says() -> None:
    for text in ("30m", "12h", "14d", "8w", "90s", "P14D", "PT36H", "P1W", "P1DT12H", "PT0.5H", "PT1,5S"):
        assert duration(text) == parse_duration(text)
