"""Kind: a sender's own fields, of any name and shape, beside an opt-out, a return or a bounce: none is ours."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_ingest.core.mapping.event_names import shipped_event_names
from touchline_ingest.core.sources.interface import Request, SourceConfig, Understood
from touchline_ingest.core.sources.standard.cloudevents import CloudEvents
from touchline_ingest.core.sources.standard.segment import Segment
from touchline_notifier.core.profiles.profile import suppression_of
from touchline_schemas.mail_events import CONSENT_GIVEN
from touchline_schemas.touchpoint import PostedTouchpoint, Touchpoint

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CONFIG = SourceConfig("shop", "api")
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["newsletter", "Email", " sms ", "", "hard"])
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("abc"), inner, max_size=2)
)
FIELDS = st.dictionaries(st.sampled_from(["channel", "recipient", "bounce", "type", "severity", "list"]), ANYTHING)


def touchpoint(reading: Any) -> Touchpoint:
    assert isinstance(reading, Understood), reading
    assert not reading.unreadable
    (draft,) = reading.touchpoints
    return PostedTouchpoint.model_validate(draft).accepted(id="t", source="shop", received_at=NOW)


def segment(name: str, fields: dict[str, Any]) -> Touchpoint:
    context = {"traits": {"email": "ada@example.org"}}
    call = {"userId": "u1", "event": name, "properties": fields, "context": context}
    request = Request("POST", "https://x/v1/track", {}, json.dumps(call).encode())
    return touchpoint(Segment().read(request, CONFIG, NOW))


def cloudevent(name: str, fields: dict[str, Any]) -> Touchpoint:
    data = {"customer_id": "u1", "email": "ada@example.org", **fields}
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": name, "data": data}
    headers = {"content-type": "application/cloudevents+json"}
    return touchpoint(
        CloudEvents().read(Request("POST", "https://x/", headers, json.dumps(event).encode()), CONFIG, NOW)
    )


@given(door=st.sampled_from([segment, cloudevent]), name=st.sampled_from(sorted(CONSENT_GIVEN)), fields=FIELDS)
def test_consent_for_all_mail_is_refused_and_given_whatever_lies_beside_it(
    door: Any, name: str, fields: dict[str, Any]
) -> None:
    found = door(name, fields)
    suppression = suppression_of(found)
    assert suppression is not None
    assert suppression.lifted is CONSENT_GIVEN[name]
    assert "recipient" not in found.properties
    for field in ("channel", "recipient"):
        if fields.get(field) is not None:
            assert found.properties["sender_fields"][field] == fields[field]


@pytest.mark.parametrize("channel", ["sms", "push", "email", "all"])
@pytest.mark.parametrize("door", [segment, cloudevent])
def test_a_channel_that_touchline_knows_is_taken(door: Any, channel: str) -> None:
    assert door("Unsubscribed", {"channel": channel}).properties["channel"] == channel


@given(door=st.sampled_from([segment, cloudevent]), fields=FIELDS)
def test_a_bounce_of_any_shape_is_hard_only_where_a_field_says_so(door: Any, fields: dict[str, Any]) -> None:
    said = {str(fields.get(name)).strip() for name in ("bounce", "type", "severity")}
    assert (suppression_of(door("Email Bounced", fields)) is not None) == ("hard" in said)


@pytest.mark.parametrize("spelling", ["Email {}", "email_{}", "{}"])
def test_leaving_has_a_way_back_in_every_spelling(spelling: str) -> None:
    names = shipped_event_names()
    assert CONSENT_GIVEN[names.type_of(spelling.format("Unsubscribed"))] is False
    for back in ("Subscribed", "Resubscribed"):
        assert CONSENT_GIVEN[names.type_of(spelling.format(back))] is True
