"""Touchpoints: what is accepted, what is refused, and what goes on the wire."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from touchline_schemas.times import from_micros, parse_micros, to_micros, to_wire
from touchline_schemas.touchpoint import PostedTouchpoint, Touchpoint

GOOD: dict[str, Any] = {"type": "purchased", "customer_id": "c-17", "occurred_at": "2026-03-01T12:00:00+02:00"}


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"customer_id": None}, "names no customer"),
        ({"occurred_at": "2026-03-01T12:00:00"}, "timezone"),
        ({"occurred_at": 1772366400}, "RFC 3339"),
        ({"occurred_at": "1989-12-31T23:59:59Z"}, "before 1990"),
        ({"occurred_at": "0001-01-01T00:00:00+14:00"}, "outside the years"),
        ({"type": "has spaces"}, "pattern"),
        ({"id": "x" * 129}, "128"),
        ({"customer_id": "x" * 10_000}, "256"),
        ({"customer_id": "a\x00b"}, "control characters"),
        ({"properties": {"note": "a\x00b"}}, "NUL"),
        ({"properties": {"a\x00": 1}}, "NUL"),
        ({"properties": {"note": "\ud800"}}, "surrogate"),
        ({"properties": nested(1000)}, "nested deeper"),
        ({"properties": []}, "dict"),
        ({"email": "nobody"}, "pattern"),
        ({"direction": "sideways"}, "inbound"),
        ({"channel": "E-Mail"}, "pattern"),
        ({"propertys": {}}, "not permitted"),
        ({"machine": "maybe"}, "bool"),
    ],
)
def test_bad_touchpoints_are_refused_with_a_reason(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        PostedTouchpoint.model_validate(GOOD | changed)
    assert says in str(refusal.value)


def test_channel_and_direction_default_to_what_the_type_means() -> None:
    now = datetime(2026, 3, 1, 11, tzinfo=UTC)

    def accepted(**changed: Any) -> Touchpoint:
        return PostedTouchpoint.model_validate(GOOD | changed).accepted(id="1", source="shop", received_at=now)

    assert (accepted().channel, accepted().direction) == ("commerce", "inbound")
    assert accepted(type="proposal_sent").direction == "outbound"
    assert accepted(type="thing_done").channel == "other"
    assert accepted(type="purchased", channel="sales").channel == "sales"


def test_a_callers_source_and_received_at_are_ignored() -> None:
    posted = PostedTouchpoint.model_validate(GOOD | {"source": "forged", "received_at": "whenever"})
    accepted = posted.accepted(id="1", source="shop", received_at=datetime(2026, 3, 1, 11, tzinfo=UTC))
    assert accepted.source == "shop"
    assert Touchpoint.model_validate_json(accepted.to_json()) == accepted


def test_times_are_utc_on_the_wire() -> None:
    posted = PostedTouchpoint.model_validate(GOOD)
    accepted = posted.accepted(id="1", source="shop", received_at=datetime(2026, 3, 1, 11, tzinfo=UTC))
    assert b'"occurred_at":"2026-03-01T10:00:00Z"' in accepted.to_json()


@given(st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2200, 1, 1)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001
def test_micros_and_wire_times_round_trip(moment: datetime, offset: int) -> None:
    from datetime import timezone

    aware = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    assert from_micros(to_micros(aware)) == aware
    assert parse_micros(to_wire(aware)) == to_micros(aware)


def test_a_time_without_a_zone_is_an_error() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        parse_micros("2026-03-01T12:00:00")


@pytest.mark.parametrize("name", ["machine", "backfill", "properties", "email", "anonymous_id", "external_id"])
def test_a_published_field_that_is_null_is_not_there_either(name: str) -> None:
    published = {
        "id": "t-1", "type": "purchased", "channel": "commerce", "direction": "inbound", "source": "shop",
        "customer_id": "c-1", "occurred_at": "2026-03-01T12:00:00Z", "received_at": "2026-03-01T12:00:00Z",
    }  # fmt: skip
    assert Touchpoint.model_validate({**published, name: None}) == Touchpoint.model_validate(published)
    as_json = json.dumps({**published, name: None})
    assert Touchpoint.model_validate_json(as_json) == Touchpoint.model_validate(published)
