"""`where`, operator by operator: what compares with what, and what a missing path fails."""

from typing import Any

import pytest
from touchline_stage_engine.core.definitions.where import compile_path
from touchline_stage_engine.core.touchpoint import Touchpoint

MISSING = object()


def holds(value: Any, operators: dict[str, Any], path: str = "properties.x") -> bool:
    properties = {} if value is MISSING else {"x": value}
    return compile_path(path, operators)(Touchpoint(0, "1", "shop", "t", "web", "inbound", properties))


@pytest.mark.parametrize("operator", ["eq", "ne", "lt", "lte", "gt", "gte"])
def test_a_missing_path_fails_every_comparison(operator: str) -> None:
    assert not holds(MISSING, {operator: 3})


def test_a_missing_path_passes_exists_false_alone() -> None:
    assert holds(MISSING, {"exists": False})
    assert not holds(MISSING, {"exists": True})
    assert not holds(MISSING, {"in": [None, 1]})
    assert not holds(MISSING, {"eq": None})
    assert not holds(MISSING, {"exists": False, "ne": 3})


def test_null_is_there() -> None:
    assert holds(None, {"exists": True})
    assert not holds(None, {"exists": False})
    assert holds(None, {"eq": None})
    assert holds(None, {"ne": 0})


@pytest.mark.parametrize(
    ("value", "operators", "expected"),
    [
        (1, {"eq": 1.0}, True),
        (True, {"eq": 1}, False),
        (1, {"eq": True}, False),
        (True, {"eq": True}, True),
        (0, {"eq": False}, False),
        (True, {"ne": 1}, True),
        ("1", {"eq": 1}, False),
        ("1", {"ne": 1}, True),
        (1, {"in": [True, "1"]}, False),
        (1.0, {"in": [2, 1]}, True),
        (True, {"in": [1]}, False),
        (True, {"gt": 0}, False),
        (False, {"lt": 1}, False),
        ("3", {"gt": 2}, False),
        (3, {"gt": "2"}, False),
        ("b", {"gt": "a"}, True),
        ("B", {"lt": "a"}, True),
        (3, {"gte": 3, "lt": 4}, True),
        (4, {"gte": 3, "lt": 4}, False),
        (None, {"lt": 1}, False),
        ([1], {"eq": 1}, False),
        ([1], {"ne": 1}, True),
        ({"a": 1}, {"exists": True}, True),
    ],
)
def test_numbers_compare_with_numbers_and_texts_with_texts(
    value: Any, operators: dict[str, Any], expected: bool
) -> None:
    assert holds(value, operators) is expected


def test_a_path_goes_through_objects_alone() -> None:
    assert holds({"y": {"z": 3}}, {"eq": 3}, "properties.x.y.z")
    assert holds({"y": 3}, {"exists": False}, "properties.x.y.z")
    assert not holds([{"y": 3}], {"eq": 3}, "properties.x.0.y")
    assert not holds("text", {"exists": True}, "properties.x.y")


def test_a_touchpoints_own_fields_can_be_asked_for() -> None:
    assert holds(MISSING, {"eq": "shop"}, "source")
    assert holds(MISSING, {"eq": False}, "backfill")
    with pytest.raises(ValueError, match="not a path"):
        holds(MISSING, {"eq": 1}, "score")
