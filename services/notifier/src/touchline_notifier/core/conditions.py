"""Conditions on values: ``{plan: pro}``, ``{score: {lte: 6}}``, ``{city: {in: [Oslo, Bergen]}}``.

A missing path fails every operator but ``exists``; numbers compare with numbers and strings with strings; true is
not 1.
"""

from collections.abc import Callable, Mapping
from typing import Any

_MISSING = object()


def _kind(value: Any) -> str | None:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else None


def _same(value: Any, literal: Any) -> bool:
    return _kind(value) is not None and _kind(value) == _kind(literal) and bool(value == literal)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def test(value: Any, bound: Any) -> bool:
        return _kind(value) == _kind(bound) and _kind(value) in ("number", "string") and compare(value, bound)

    return test


_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": _same,
    "ne": lambda value, literal: not _same(value, literal),
    "lt": _ordered(lambda value, bound: value < bound),
    "lte": _ordered(lambda value, bound: value <= bound),
    "gt": _ordered(lambda value, bound: value > bound),
    "gte": _ordered(lambda value, bound: value >= bound),
    "in": lambda value, literals: any(_same(value, literal) for literal in literals),
}
OPERATORS = (*_TESTS, "exists")


def check_operators(condition: Any) -> Any:
    """Validate one condition: a literal, or operators by name.

    Raises:
        ValueError: an unknown operator, or an operand that can't be.
    """
    if isinstance(condition, list):
        raise ValueError("a list is no condition: write {in: [...]}")
    if not isinstance(condition, dict):
        return condition
    for name, operand in condition.items():
        if name not in OPERATORS:
            raise ValueError(f"unknown operator {name!r}: known are {', '.join(OPERATORS)}")
        if name == "exists" and not isinstance(operand, bool):
            raise ValueError("exists takes true or false")
        if name == "in" and not isinstance(operand, list):
            raise ValueError("in takes a list")
        if name in ("lt", "lte", "gt", "gte") and _kind(operand) not in ("number", "string"):
            raise ValueError(f"{name} takes a number or a text")
    if not condition:
        raise ValueError(f"write a value, or one of {', '.join(OPERATORS)}")
    return condition


def _at(values: Mapping[str, Any], path: str) -> Any:
    value: Any = values
    for step in path.split("."):
        if not isinstance(value, Mapping) or step not in value:
            return _MISSING
        value = value[step]
    return value


def holds(values: Mapping[str, Any], path: str, condition: Any) -> bool:
    """Whether the value at a dotted path meets a condition that :func:`check_operators` let pass."""
    value = _at(values, path)
    operators = condition if isinstance(condition, dict) else {"eq": condition}
    wanted = operators.get("exists")
    if wanted is not None and (value is not _MISSING) != wanted:
        return False
    tests = [(name, operand) for name, operand in operators.items() if name != "exists"]
    return not tests or (value is not _MISSING and all(_TESTS[name](value, operand) for name, operand in tests))


def compare(number: float, condition: Any) -> bool:
    """Whether a number meets a condition."""
    return holds({"n": number}, "n", condition)
