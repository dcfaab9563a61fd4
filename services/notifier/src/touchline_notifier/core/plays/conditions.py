"""Conditions on values: ``{plan: pro}``, ``{score: {lte: 6}}``, ``{city: {in: [Oslo, Bergen]}}``.

A missing path fails every operator but ``exists: false``. How values compare is in
``touchline_schemas.definitions.operators``.
"""

from collections.abc import Mapping
from typing import Any

from touchline_schemas.definitions.operators import OPERATORS, kind_of, satisfies

_MISSING = object()


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
        if name in ("lt", "lte", "gt", "gte") and kind_of(operand) not in ("number", "string"):
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
    """Whether the value at a dotted path meets a condition that :func:`check_operators` accepted."""
    value = _at(values, path)
    operators = condition if isinstance(condition, dict) else {"eq": condition}
    if value is _MISSING:
        return bool(operators == {"exists": False})
    return satisfies(value, operators)


def compare(number: float, condition: Any) -> bool:
    """Whether a number meets a condition."""
    return holds({"n": number}, "n", condition)
