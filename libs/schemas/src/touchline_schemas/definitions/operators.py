"""How a value is compared with what a condition says, in lifecycles and in plays.

Numbers compare with numbers and strings with strings, anything else compares false; true is not 1. `ne` needs a value
that exists and differs. A value that is an object or a list equals no literal. A missing value fails every operator but
`exists: false`, which the caller checks.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

Scalar: TypeAlias = str | int | float | bool | None
ValueTest: TypeAlias = Callable[[Any], bool]


def kind_of(value: Any) -> str | None:
    """What a value may be compared with: its own kind alone. None: with nothing."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else None


def same(value: Any, literal: Any) -> bool:
    """Equality as JSON has it: 1 is 1.0, but true is not 1."""
    kind = kind_of(value)
    return kind is not None and kind == kind_of(literal) and bool(value == literal)


def _comparable(value: Any, bound: Any) -> bool:
    kind = kind_of(value)
    return kind == kind_of(bound) and kind in ("number", "string")


def _equal(literal: Scalar) -> ValueTest:
    return lambda value: same(value, literal)


def _not_equal(literal: Scalar) -> ValueTest:
    return lambda value: not same(value, literal)


def _less(bound: Any) -> ValueTest:
    return lambda value: _comparable(value, bound) and value < bound


def _less_or_equal(bound: Any) -> ValueTest:
    return lambda value: _comparable(value, bound) and value <= bound


def _greater(bound: Any) -> ValueTest:
    return lambda value: _comparable(value, bound) and value > bound


def _greater_or_equal(bound: Any) -> ValueTest:
    return lambda value: _comparable(value, bound) and value >= bound


def _in(literals: Sequence[Scalar]) -> ValueTest:
    return lambda value: any(same(value, literal) for literal in literals)


TESTS: dict[str, Callable[[Any], ValueTest]] = {
    "eq": _equal,
    "ne": _not_equal,
    "lt": _less,
    "lte": _less_or_equal,
    "gt": _greater,
    "gte": _greater_or_equal,
    "in": _in,
}
"""The operators on a value that is there: from an operand to the test."""
OPERATORS = (*TESTS, "exists")


def satisfies(value: Any, operators: Mapping[str, Any]) -> bool:
    """Whether a value that is there passes every operator."""
    return operators.get("exists", True) and all(
        TESTS[name](operand)(value) for name, operand in operators.items() if name != "exists"
    )
