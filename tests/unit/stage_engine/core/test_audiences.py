"""Filters of audiences: what may be written, and what is wrong with the rest."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_schemas.definitions.durations import DAY, HOUR
from touchline_stage_engine.core.audiences.audience import FIELDS, FaultyAudienceError, check_name, read_filter
from touchline_stage_engine.core.audiences.customer_filter import CustomerFilter


def faults_of(written: dict[str, Any]) -> dict[str, str]:
    """Path → message of everything that is wrong."""
    with pytest.raises(FaultyAudienceError) as caught:
        read_filter(written)
    return dict(caught.value.faults)


def test_every_condition_is_read() -> None:
    written = {
        "lifecycle": "trial", "stage": "buy", "first_channel": "web", "first_source": "shop", "stalled": False,
        "at_risk": True, "entered_since": "2026-01-01T00:00:00Z", "entered_before": "2026-02-01T00:00:00+01:00",
        "entered_within": "P90D", "in_stage_for": "14d", "min_value": 10, "max_value": 99.5,
        "seen_since": "2026-01-01T00:00:00Z", "seen_before": "2026-02-01T00:00:00Z", "seen_within": "P3W",
        "not_seen_for": "PT12H", "trait": "plan:a:b",
    }  # fmt: skip
    assert set(written) == set(FIELDS)
    january, february = 1_767_225_600_000_000, 1_769_904_000_000_000
    assert read_filter(written) == CustomerFilter(
        lifecycle="trial", stage="buy", first_channel="web", first_source="shop", stalled=False, at_risk=True,
        entered_since=january, entered_before=february - HOUR, entered_within=90 * DAY, in_stage_for=14 * DAY,
        min_value=10.0, max_value=99.5, seen_since=january, seen_before=february, seen_within=21 * DAY,
        not_seen_for=12 * HOUR, trait="plan", trait_value="a:b",
    )  # fmt: skip
    assert read_filter({"stage": "buy", "lifecycle": None}) == CustomerFilter(stage="buy")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("lifecycle", 7, "write a text"),
        ("stage", "", "is empty"),
        ("stage", "a\x00b", "without control characters"),
        ("trait", "plan:\ud800", "without control characters"),
        ("stage", "a" * 401, "at most 400 characters"),
        ("stalled", "yes", "write true or false"),
        ("at_risk", False, "leave it out"),
        ("in_stage_for", "14", "write it with one of s m h d w, such as 14d"),
        ("in_stage_for", "P1M", "years and months have no fixed length"),
        ("in_stage_for", "0d", "longer than zero"),
        ("in_stage_for", 14, "write a text"),
        ("entered_since", "yesterday", "such as 2026-03-01T00:00:00Z"),
        ("entered_since", "0900-01-01T00:00:00Z", "between the years 1900 and 2100"),
        ("min_value", "10", "write a number"),
        ("min_value", True, "write a number"),
        ("min_value", float("nan"), "write a number"),
        ("max_value", 1e300, "write a number"),
        ("trait", "plan", "write name:value"),
        ("trait", ":pro", "write name:value"),
        ("q", "ann", "a search is no condition"),
        ("colour", "red", "is no condition; there are: lifecycle, stage"),
    ],
)
def test_what_is_wrong_is_said_with_its_field(name: str, value: Any, message: str) -> None:
    assert message in faults_of({name: value})[f"filter.{name}"]


def test_every_fault_is_said_at_once() -> None:
    faults = faults_of({"stalled": 1, "trait": "x", "colour": None, "seen_within": "soon", "size": 1})
    assert set(faults) == {"filter.stalled", "filter.trait", "filter.seen_within", "filter.size"}


@pytest.mark.parametrize("written", [{}, {"stage": None}])
def test_a_filter_without_a_condition_is_no_audience(written: dict[str, Any]) -> None:
    assert "every customer would be a member" in faults_of(written)["filter"]


@pytest.mark.parametrize(
    ("low", "high", "path"),
    [
        ({"min_value": 10}, {"max_value": 9}, "filter.min_value"),
        ({"seen_since": "2026-01-01T00:00:00Z"}, {"seen_before": "2026-01-01T00:00:00Z"}, "filter.seen_since"),
        ({"entered_since": "2026-01-02T00:00:00Z"}, {"entered_before": "2026-01-01T00:00:00Z"}, "filter.entered_since"),
        ({"in_stage_for": "14d"}, {"entered_within": "P2W"}, "filter.in_stage_for"),
        ({"not_seen_for": "2w"}, {"seen_within": "1d"}, "filter.not_seen_for"),
    ],
)
def test_conditions_that_exclude_each_other_are_refused(low: dict[str, Any], high: dict[str, Any], path: str) -> None:
    assert "nobody could match" in faults_of(low | high)[path]
    read_filter(low)
    read_filter(high)


@given(st.text(max_size=70))
def test_a_name_is_part_of_an_address_as_it_is(name: str) -> None:
    try:
        check_name(name)
    except FaultyAudienceError:
        return
    assert 0 < len(name) <= 60
    assert not set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789-")


@given(
    st.dictionaries(
        st.sampled_from(FIELDS) | st.text(max_size=5),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.lists(st.integers()),
    )
)
def test_whatever_is_written_is_read_or_refused_with_a_reason(written: dict[str, Any]) -> None:
    faults = None
    try:
        read_filter(written)
    except FaultyAudienceError as error:
        faults = error.faults
    assert faults is None or (faults and all(fault.message for fault in faults))


def test_only_spans_and_risk_depend_on_time() -> None:
    for name in ("in_stage_for", "entered_within", "not_seen_for", "seen_within"):
        assert read_filter({name: "P1D"}).depends_on_time
    assert read_filter({"at_risk": True}).depends_on_time
    assert not read_filter({"stage": "buy", "seen_before": "2026-02-01T00:00:00Z", "min_value": 1}).depends_on_time
