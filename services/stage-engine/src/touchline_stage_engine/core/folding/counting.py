"""Compile rules to closures over a list of counters: what each rule counts, and when it holds.

A customer has one list of counters in each stage. A condition that needs a counter has its own slot in the list:

- no counter when one matching touchpoint is enough;
- an int, up to `count`, for a number of touchpoints since stage entry;
- the times of the latest `count` matching touchpoints for a number within a window.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from touchline_stage_engine.core.definitions.model import Condition
from touchline_stage_engine.core.definitions.where import Predicate, compile_path
from touchline_stage_engine.core.touchpoint import Touchpoint

Counter: TypeAlias = int | list[int] | None
"""Matching touchpoints so far, or the times of the latest ones (None: none yet)."""

Counters: TypeAlias = list[Counter]
Holds: TypeAlias = Callable[[Any, Touchpoint], bool]
"""(counters, touchpoint) → whether the rule holds now. The call counts the touchpoint."""


class Part(NamedTuple):
    """One condition of a rule, with its slot among the counters (unused when it needs no counter)."""

    matches: Predicate | None
    slot: int
    needed: int
    within: int | None


def matcher(condition: Condition) -> Predicate | None:
    """The test that a touchpoint of the right type must also pass; None: no test."""
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
        first, second = tests
        return lambda touchpoint: first(touchpoint) and second(touchpoint)
    return lambda touchpoint: all(test(touchpoint) for test in tests)


def _always(counters: Counters, touchpoint: Touchpoint) -> bool:
    return True


def one_condition(part: Part) -> Holds:
    """A rule of one condition. It moves the customer when the count is reached, so counters stay below the count."""
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
    """A rule of several conditions, of which `concerned` can match the type. Counting stops at the needed number."""

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
