"""Conditions of plays: a dotted path, and a literal or operators on what is there."""

from typing import Any

import pytest
from touchline_notifier.core.plays.conditions import check_operators, compare, holds

KNOWN = {"plan": "pro", "score": 6, "vip": True, "city": None, "tags": ["a"], "address": {"city": "Oslo"}}


@pytest.mark.parametrize(
    ("path", "condition", "expected"),
    [
        ("plan", "pro", True),
        ("plan", {"in": ["pro", "team"]}, True),
        ("plan", {"ne": "pro"}, False),
        ("score", {"gte": 6, "lt": 7}, True),
        ("score", {"gt": "5"}, False),
        ("score", 6.0, True),
        ("vip", 1, False),
        ("vip", True, True),
        ("city", None, True),
        ("city", {"exists": True}, True),
        ("address.city", "Oslo", True),
        ("address.street", {"exists": False}, True),
        ("plan.name", {"exists": False}, True),
        ("street", {"ne": "Main"}, False),
        ("street", {"exists": False, "ne": "Main"}, False),
        ("street", None, False),
        ("tags", {"in": [["a"], "a"]}, False),
        ("tags", {"ne": "a"}, True),
        ("tags", {"exists": True}, True),
        ("plan", {"exists": False}, False),
    ],
)
def test_a_condition_holds_as_it_does_in_a_lifecycle(path: str, condition: Any, expected: bool) -> None:
    assert holds(KNOWN, path, check_operators(condition)) is expected


def test_numbers_are_compared_alike() -> None:
    assert compare(2, {"gte": 2})
    assert not compare(1, {"gte": 2})


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (["a"], "a list is no condition"),
        ({}, "write a value, or one of eq, ne, lt, lte, gt, gte, in, exists"),
        ({"like": "x"}, "unknown operator 'like'"),
        ({"exists": 1}, "exists takes true or false"),
        ({"in": "a"}, "in takes a list"),
        ({"gt": True}, "gt takes a number or a text"),
    ],
)
def test_what_is_no_condition_is_refused(condition: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_operators(condition)
