"""The form of an audience: its fields say what the list's filter bar says, and conditions it has no field for stay."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_console.application.changes.audiences import AudienceDraft, faults_of, fields_of
from touchline_console.application.people import SEEN, STATES, Asked, as_parameters
from touchline_console.application.ports import Rejected
from touchline_console.application.titles import Titles
from touchline_console.core.conditions import conditions_in_words

TITLES = Titles([{"name": "trial", "title": "The trial", "stages": [{"name": "buy", "title": "Buys"}], "off_path": []}])
NUMBERS = st.integers(1, 36_000).map(str)
ASKED = st.builds(
    Asked,
    lifecycle=st.sampled_from(["", "trial"]), stage=st.sampled_from(["", "buy"]),
    state=st.sampled_from(["", *dict(STATES)]), seen=st.sampled_from(["", *dict(SEEN)]),
    entered=st.just("") | NUMBERS, in_stage=st.just("") | NUMBERS,
    min_value=st.just("") | st.integers(0, 10**14).map(str), channel=st.sampled_from(["", "web"]),
    trait=st.sampled_from(["", "plan:pro", "a:b:c"]),
)  # fmt: skip


@given(ASKED)
def test_an_audience_made_of_the_filter_bar_is_edited_with_the_same_fields(asked: Asked) -> None:
    conditions = asked.as_filter()
    fields, rest = fields_of(conditions)
    assert (fields, rest) == (asked, {})
    assert AudienceDraft(asked=fields, rest=rest).conditions == conditions


REST = [
    {"max_value": 500}, {"entered_since": "2026-01-01T00:00:00Z"}, {"first_source": "shop"}, {"seen_within": "12d"},
    {"not_seen_for": "PT36H"}, {"in_stage_for": "90m"}, {"stalled": True, "at_risk": True},
]  # fmt: skip


@pytest.mark.parametrize("conditions", REST)
def test_conditions_without_a_field_are_kept(conditions: dict[str, Any]) -> None:
    fields, rest = fields_of({"stage": "buy", **conditions})
    assert AudienceDraft(asked=fields, rest=rest).conditions == {"stage": "buy", **conditions}


def test_days_are_days_however_they_are_written() -> None:
    fields, rest = fields_of({"in_stage_for": "P14D", "entered_within": "90d", "not_seen_for": "P30D"})
    assert (fields.in_stage, fields.entered, fields.seen, rest) == ("14", "90", "-30", {})


def test_the_list_asks_by_the_same_conditions() -> None:
    asked = Asked(q="ann", state="not_stalled", in_stage="14", min_value="x", seen="nan", trait=":pro", sort="entered")
    assert asked.as_filter() == {"stalled": False, "in_stage_for": "14d"}
    assert asked.for_engine() == {
        "stalled": "false", "in_stage_for": "14d", "q": "ann", "sort": "value", "order": None,
    }  # fmt: skip
    assert as_parameters({"at_risk": True, "min_value": 5}) == {"at_risk": "true", "min_value": 5}


def test_conditions_read_as_words() -> None:
    conditions = {
        "lifecycle": "trial", "stage": "buy", "stalled": False, "at_risk": True, "in_stage_for": "P14D",
        "entered_within": "1d", "min_value": 1250.5, "not_seen_for": "PT12H", "trait": "plan:pro", "later": "x",
    }  # fmt: skip
    assert conditions_in_words(conditions, TITLES) == [
        "The trial", "stage Buys", "not stalled", "at risk", "in the stage for at least 14 days",
        "entered the stage less than 1 day ago", "value from 1,250.5", "not seen for 12 hours", "trait plan:pro",
        "later x",
    ]  # fmt: skip


def test_what_the_engine_refuses_is_said_line_by_line() -> None:
    errors = [{"path": "filter.stage", "message": "unknown"}, {"path": "name", "message": "write letters"}]
    assert faults_of(Rejected("engine", "wrong", 422, {"errors": errors})) == ["stage: unknown", "name: write letters"]
    assert faults_of(Rejected("engine", "another version is in force", 409)) == ["another version is in force"]
