"""Check whether any value can pass the operators at one path of a `where`."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from touchline_schemas.definitions.operators import same, satisfies
from touchline_schemas.touchpoint import unstorable

Fault: TypeAlias = tuple[str, str]
"""(what is wrong, what to write instead)"""

_BOUNDS = ("lt", "lte", "gt", "gte")
_NEVER = "the rule can never hold"


def fault_of(operators: Mapping[str, Any]) -> Fault | None:
    """What is wrong with the operators of one path; None when some value passes them."""
    if not operators:
        return "has no operator", "write a literal, or an operator such as {gte: 3}"
    if operators.get("exists", True) is None:
        return "exists is empty", "write exists: true or exists: false"
    for name in _BOUNDS:
        if name in operators and (operators[name] is None or isinstance(operators[name], bool)):
            return f"{_NEVER}: {name} compares only numbers and texts", f"write {name}: with a number or a text"
    if "in" in operators and operators["in"] is None:
        return "in is empty", "write in: [a, b]"
    if operators.get("exists") is False and len(operators) > 1:
        return f"{_NEVER}: a missing path fails every other operator", "remove exists: false or the other operators"
    named = [operators["eq"]] if "eq" in operators else operators.get("in")
    if operators.get("lt") == "":
        return f"{_NEVER}: no text is less than the empty one", "write lt: with a longer text"
    if named is not None:
        if all(unstorable(value) for value in named):
            return f"{_NEVER}: no touchpoint has such a value: it {unstorable(named[0])}", "write another value"
        if not any(satisfies(value, operators) for value in named):
            return f"{_NEVER}: the operators contradict each other", "remove one of them"
        return None
    return _fault_of_bounds(operators)


def _fault_of_bounds(operators: Mapping[str, Any]) -> Fault | None:
    bounds = {name: operators[name] for name in _BOUNDS if name in operators}
    if len({isinstance(bound, str) for bound in bounds.values()}) > 1:
        return f"{_NEVER}: no value is both a number and a text", "write bounds of one kind"
    lower = max((bounds[name] for name in ("gt", "gte") if name in bounds), default=None)
    upper = min((bounds[name] for name in ("lt", "lte") if name in bounds), default=None)
    if lower is None or upper is None:
        return None
    strict = bounds.get("gt") == lower or bounds.get("lt") == upper
    if lower > upper or (lower == upper and (strict or same(operators.get("ne"), lower))):
        return f"{_NEVER}: no value is between {lower!r} and {upper!r}", "write bounds that leave a range"
    return None
