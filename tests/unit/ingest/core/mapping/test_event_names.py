import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_ingest.core.mapping.event_names import TYPE_NAME, check_events, shipped_event_names, snake_case
from touchline_schemas.touchpoint_types import STANDARD_TYPES

NAMES = shipped_event_names()


@pytest.mark.parametrize(
    "name", ["Order Completed", "order_completed", "orderCompleted", "ORDER-COMPLETED", " Order  completed"]
)
def test_the_spelling_of_a_name_makes_no_difference(name):
    assert NAMES.type_of(name) == "purchased"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Cart Viewed", "cart_viewed"), ("HTTPRequestSent", "http_request_sent"), ("v2 Launched!", "v2_launched")],
)
def test_an_unknown_name_becomes_its_snake_case(name, expected):
    assert NAMES.type_of(name) == expected


def test_every_standard_type_is_the_meaning_of_its_own_name():
    assert {name: NAMES.type_of(name) for name in STANDARD_TYPES} == {name: name for name in STANDARD_TYPES}


def test_the_shipped_table_names_standard_types_alone():
    assert set(NAMES._types.values()) <= set(STANDARD_TYPES)


def test_names_in_other_scripts_stay_distinct():
    assert snake_case("注文完了") != snake_case("注文取消")


@given(st.text())
def test_every_name_becomes_a_type(name):
    assert TYPE_NAME.fullmatch(NAMES.type_of(name))
    assert TYPE_NAME.fullmatch(NAMES.type_of_typed(name))


def test_a_mapping_to_something_that_is_no_type_is_a_problem():
    assert check_events(None) == check_events({"Order Completed": "purchased"}) == []
    assert check_events(["Order Completed"])
    assert check_events({"Order Completed": "not a type"})
    assert check_events({"Order Completed": 1})
