"""`where` conditions as predicates over a touchpoint.

The rules, from the definition's semantics: a missing path fails every operator but `exists`; numbers compare with
numbers and strings with strings, anything else compares false; true is not 1. `ne` asks for a value that is there and
differs. A value that is an object or a list equals no literal.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from touchline_stage_engine.core.touchpoint import Touchpoint

Scalar: TypeAlias = str | int | float | bool | None
Predicate: TypeAlias = Callable[[Touchpoint], bool]
ValueTest: TypeAlias = Callable[[Any], bool]

PROPERTIES = "properties"
FIELDS = ("id", "type", "channel", "direction", "source", "machine", "backfill")
"""What a path may name beside `properties.…`."""

_MISSING = object()


def _kind(value: Any) -> str | None:
    """What a value may be compared with: its own kind alone."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else None


def same(value: Any, literal: Scalar) -> bool:
    """Equality as JSON has it: 1 is 1.0, but true is not 1."""
    return _kind(value) == _kind(literal) and bool(value == literal)


def _comparable(value: Any, bound: Scalar) -> bool:
    kind = _kind(value)
    return kind == _kind(bound) and kind in ("number", "string")


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


_TESTS: dict[str, Callable[[Any], ValueTest]] = {
    "eq": _equal,
    "ne": _not_equal,
    "lt": _less,
    "lte": _less_or_equal,
    "gt": _greater,
    "gte": _greater_or_equal,
    "in": _in,
}
OPERATORS = (*_TESTS, "exists")


def satisfies(value: Any, operators: Mapping[str, Any]) -> bool:
    """Whether a value that is there passes every operator."""
    return operators.get("exists", True) and all(
        _TESTS[name](operand)(value) for name, operand in operators.items() if name != "exists"
    )


def _property_getter(keys: Sequence[str]) -> Callable[[Touchpoint], Any]:
    if len(keys) == 1:
        (key,) = keys
        return lambda touchpoint: touchpoint.properties.get(key, _MISSING)

    def get(touchpoint: Touchpoint) -> Any:
        value: Any = touchpoint.properties
        for key in keys:
            if not isinstance(value, dict):
                return _MISSING
            value = value.get(key, _MISSING)
        return value

    return get


def _getter(path: str) -> Callable[[Touchpoint], Any]:
    root, *keys = path.split(".")
    if root == PROPERTIES and keys:
        return _property_getter(keys)
    if root in FIELDS and not keys:
        return lambda touchpoint: getattr(touchpoint, root)
    raise ValueError(f"no path of a touchpoint: {path!r}")


def compile_path(path: str, operators: Mapping[str, Any]) -> Predicate:
    """The predicate of one path; `operators` by name, at least one (`{"gte": 3, "lt": 9}`, `{"exists": False}`)."""
    get = _getter(path)
    tests = tuple(_TESTS[name](operand) for name, operand in operators.items() if name != "exists")
    if operators.get("exists") is False:
        # Beside another operator, which a missing path fails, this holds never (and checks refuses it).
        return (lambda touchpoint: False) if tests else (lambda touchpoint: get(touchpoint) is _MISSING)
    if not tests:
        return lambda touchpoint: get(touchpoint) is not _MISSING
    if len(tests) == 1:
        (test,) = tests

        def passes_one(touchpoint: Touchpoint) -> bool:
            value = get(touchpoint)
            return value is not _MISSING and test(value)

        return passes_one

    def passes_all(touchpoint: Touchpoint) -> bool:
        value = get(touchpoint)
        return value is not _MISSING and all(test(value) for test in tests)

    return passes_all
