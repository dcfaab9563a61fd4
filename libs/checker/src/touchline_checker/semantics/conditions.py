"""Whether a touchpoint matches a condition."""

from collections.abc import Sequence
from typing import Any

from touchline_checker.semantics.definitions import Condition
from touchline_checker.semantics.touchpoints import Touchpoint


def matches(condition: Condition, touchpoint: Touchpoint) -> bool:
    """Type, channel, direction and `where`; not the count."""
    return (
        bool(condition.types & {"*", touchpoint.type})
        and (condition.channels is None or touchpoint.channel in condition.channels)
        and condition.direction in ("any", touchpoint.direction)
        and all(_holds(path, operators, touchpoint) for path, operators in condition.where)
    )


def _holds(path: Sequence[str], operators: Sequence[tuple[str, Any]], touchpoint: Touchpoint) -> bool:
    found = _look_up(path, touchpoint)
    if not found:
        return list(operators) == [("exists", False)]
    return all(_passes(name, found[0], operand) for name, operand in operators)


def _look_up(path: Sequence[str], touchpoint: Touchpoint) -> list[Any]:
    """The value in a list of one; an empty list where the path is missing."""
    first, *rest = path
    value: Any = getattr(touchpoint, first, None)
    if first not in ("properties", "id", "type", "channel", "direction", "source", "machine", "backfill"):
        return []
    for name in rest:
        if not isinstance(value, dict) or name not in value:
            return []
        value = value[name]
    return [value]


def _kind(value: Any) -> str:
    for types, kind in ((bool, "boolean"), ((int, float), "number"), (str, "text"), (type(None), "null")):
        if isinstance(value, types):
            return kind
    return "structure"


def _equal(one: Any, other: Any) -> bool:
    return _kind(one) == _kind(other) != "structure" and bool(one == other)


def _passes(operator: str, value: Any, operand: Any) -> bool:
    match operator:
        case "exists":
            return bool(operand)
        case "eq":
            return _equal(value, operand)
        case "ne":
            return not _equal(value, operand)
        case "in":
            return any(_equal(value, item) for item in operand)
    if _kind(value) != _kind(operand) or _kind(value) not in ("number", "text"):
        return False
    less, equal = bool(value < operand), bool(value == operand)
    return {"lt": less, "lte": less or equal, "gt": not less and not equal, "gte": not less}[operator]
