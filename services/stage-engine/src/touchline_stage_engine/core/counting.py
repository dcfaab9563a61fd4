"""Rules as closures over a list of counters: what each counts, and when it holds.

Counters live in one list per customer and stage, each condition that needs one with its own place in it:

- no counter, where one matching touchpoint is enough;
- an int, up to `count`, where a number since stage entry is asked for;
- the times of the latest `count` matching touchpoints, where they must lie within a window.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from touchline_stage_engine.core.definition import Condition
from touchline_stage_engine.core.touchpoint import Touchpoint
from touchline_stage_engine.core.where import Predicate, compile_path

Counter: TypeAlias = int | list[int] | None
"""Matching touchpoints so far, or the times of the latest ones (None: none yet)."""

Counters: TypeAlias = list[Counter]
Holds: TypeAlias = Callable[[Any, Touchpoint], bool]
"""(counters, touchpoint) → whether the rule holds now; counts the touchpoint on the way."""


class Part(NamedTuple):
    """One condition of a rule, with its place among the counters (of no meaning where it needs none)."""

    matches: Predicate | None
    slot: int
    needed: int
    within: int | None


def matcher(condition: Condition) -> Predicate | None:
    """What a touchpoint of the right type must pass besides; None: nothing."""
    tests: list[Predicate] = []
    if condition.direction != "any":
        direction = condition.direction
        tests.append(lambda touchpoint: touchpoint.direction == direction)
    if condition.channel is not None:
        channels = frozenset(condition.channel)
        tests.append(lambda touchpoint: touchpoint.channel in channels)
    tests.extend(compile_path(path, operators.given()) for path, operators in condition.where.items())
    if not tests:
        return None
    if len(tests) == 1:
        return tests[0]
    if len(tests) == 2:
        one, two = tests
        return lambda touchpoint: one(touchpoint) and two(touchpoint)
    return lambda touchpoint: all(test(touchpoint) for test in tests)


def _always(counters: Counters, touchpoint: Touchpoint) -> bool:
    return True


def one_condition(part: Part) -> Holds:
    """A rule of one condition. It moves the customer as soon as the count is reached, so counters stay below it."""
    matches, slot, count, within = part
    if count == 1:
        return _always if matches is None else lambda counters, touchpoint: matches(touchpoint)
    if within is None:

        def holds_by_count(counters: list[int], touchpoint: Touchpoint) -> bool:
            if matches is not None and not matches(touchpoint):
                return False
            so_far = counters[slot] + 1
            counters[slot] = so_far
            return so_far >= count

        return holds_by_count

    def holds_by_window(counters: list[list[int] | None], touchpoint: Touchpoint) -> bool:
        if matches is not None and not matches(touchpoint):
            return False
        times = counters[slot]
        if times is None:
            counters[slot] = [touchpoint.occurred_at]
            return False
        times.append(touchpoint.occurred_at)
        if len(times) > count:
            del times[0]
        return len(times) == count and times[0] > touchpoint.occurred_at - within

    return holds_by_window


def several_conditions(concerned: Sequence[Part], parts: Sequence[Part]) -> Holds:
    """A rule of several conditions, for a type that `concerned` of them can match. Counts stop where they suffice."""

    def holds(counters: Any, touchpoint: Touchpoint) -> bool:
        now = touchpoint.occurred_at
        considered = False
        for matches, slot, needed, within in concerned:
            if matches is not None and not matches(touchpoint):
                continue
            considered = True
            counter = counters[slot]
            if within is None:
                if counter < needed:
                    counters[slot] = counter + 1
            elif counter is None:
                counters[slot] = [now]
            else:
                counter.append(now)
                if len(counter) > needed:
                    del counter[0]
        if not considered:
            return False
        for _, slot, needed, within in parts:
            counter = counters[slot]
            if within is None:
                if counter < needed:
                    return False
            elif counter is None or len(counter) < needed or counter[0] <= now - within:
                return False
        return True

    return holds
