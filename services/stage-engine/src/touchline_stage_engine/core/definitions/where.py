"""Compile `where` conditions to predicates over a touchpoint: a path, and operators on the value at the path.

A missing path fails every operator except `exists: false`. How values compare is in
`touchline_schemas.definitions.operators`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from touchline_schemas.definitions.operators import TESTS

from touchline_stage_engine.core.touchpoint import Touchpoint

Predicate: TypeAlias = Callable[[Touchpoint], bool]

PROPERTIES = "properties"
FIELDS = ("id", "type", "channel", "direction", "source", "machine", "backfill")
"""The fields that a path may name, besides `properties.…`."""

_MISSING = object()


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
    raise ValueError(f"not a path of a touchpoint: {path!r}")


def compile_path(path: str, operators: Mapping[str, Any]) -> Predicate:
    """The predicate of one path; `operators` by name, at least one (`{"gte": 3, "lt": 9}`, `{"exists": False}`)."""
    get = _getter(path)
    tests = tuple(TESTS[name](operand) for name, operand in operators.items() if name != "exists")
    if operators.get("exists") is False:
        # With another operator, which a missing path fails, this never holds; `checks` reports it.
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
