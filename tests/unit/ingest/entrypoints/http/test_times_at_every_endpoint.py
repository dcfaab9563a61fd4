"""Kind: a time that one door takes is taken by every door, as the same instant; what one refuses, all refuse."""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_ingest.core.history.import_mapping import ValueRule
from touchline_schemas.times import parse_micros, read_time, to_micros, to_wire
from touchline_schemas.touchpoint import PostedTouchpoint

SECRET = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
NOON = "2026-03-01T12:00:00Z"
SPELLINGS = {
    "2026-03-01T12:00:00Z": NOON,
    "2026-03-01t12:00:00z": NOON,
    "2026-03-01 12:00:00Z": NOON,
    "2026-03-01T12:00:00z": NOON,
    "2026-03-01T12:00Z": NOON,
    "2026-03-01T12:00:00.000+0000": NOON,
    "2026-03-01T13:00:00+01:00": NOON,
    "2026-03-01T07:30:00-0430": NOON,
    "2026-03-01T12:00:00-00:00": NOON,
    "2026-03-01T12:00:00+00": NOON,
    "2026-03-01T12:00:00,5Z": "2026-03-01T12:00:00.500000Z",
    "2026-03-01T12:00:00.1234567Z": "2026-03-01T12:00:00.123456Z",
    "2026-03-01T12:00:00.123456789012Z": "2026-03-01T12:00:00.123456Z",
    "2025-12-31T23:59:60Z": "2026-01-01T00:00:00Z",
    " 2026-03-01T12:00:00Z ": NOON,
}
NO_TIMES = [
    "2026-03-01T12:00:00",
    "2026-03-01",
    "20260301T120000Z",
    "2026-W09-7T12:00:00Z",
    "1772366400",
    "1772366400000",
    "2026-02-30T12:00:00Z",
    "2026-03-01T25:00:00Z",
    "2026-03-01T24:00:00Z",
    "2026-03-01T12:00:61Z",
    "",
    "yesterday",
    "2026-03-01T12:00:00+25:00",
    "٢٠٢٦-03-01T12:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "2026-03-01T12:00:00Zulu",
]


async def through_every_endpoint(ingest: Any, text: str) -> list[dict[str, Any]]:
    item = {"type": "demo_booked", "customer_id": "c-1", "occurred_at": text}
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "demo_booked", "subject": "c-1", "time": text}
    hook = json.dumps({"type": "demo_booked", "timestamp": text, "data": {"customer_id": "c-1"}}).encode()
    stamp = str(int(time.time()))
    digest = base64.b64encode(hmac.new(SECRET, f"m.{stamp}.".encode() + hook, hashlib.sha256).digest()).decode()
    signed = {"webhook-id": "m", "webhook-timestamp": stamp, "webhook-signature": "v1," + digest}
    call = {"userId": "c-1", "event": "Demo Booked", "timestamp": text}
    await ingest.post(item)
    await ingest.post([item], path="/v1/beacon?key=key-of-page", key=None)
    await ingest.client.get("/v1/pixel.gif", params={"key": "key-of-page", **item})
    await ingest.client.post("/v1/track", json=call, auth=("key-of-tracker", ""))
    await ingest.client.post("/v1/track", json=call | {"originalTimestamp": text}, auth=("key-of-tracker", ""))
    await ingest.post(event, path="/v1/cloudevents", content_type="application/cloudevents+json")
    await ingest.client.post("/v1/webhooks/hooks", content=hook, headers=signed)
    return [stored for stored in ingest.touchpoints() if stored["type"] == "demo_booked"]


@pytest.mark.parametrize(("text", "instant"), SPELLINGS.items())
async def test_every_door_reads_a_spelling_of_a_time_as_the_same_instant(ingest: Any, text: str, instant: str) -> None:
    assert [stored["occurred_at"] for stored in await through_every_endpoint(ingest, text)] == [instant] * 7
    assert to_wire(ValueRule("at", format=None, zone=None)._without_format(text)) == instant
    assert parse_micros(text.strip()) == to_micros(datetime.fromisoformat(instant))


@pytest.mark.parametrize("text", NO_TIMES)
async def test_what_is_no_time_at_one_door_is_none_at_any(ingest: Any, text: str) -> None:
    assert await through_every_endpoint(ingest, text) == []


@given(
    moment=st.datetimes(datetime(1990, 1, 2), datetime(2200, 1, 1)),  # noqa: DTZ001
    minutes=st.integers(-14 * 60, 14 * 60),
    separator=st.sampled_from("Tt "),
    colon=st.booleans(),
)
def test_a_time_written_in_any_zone_is_read_back(moment: datetime, minutes: int, separator: str, colon: bool) -> None:
    sign, size = "-" if minutes < 0 else "+", abs(minutes)
    offset = f"{sign}{size // 60:02}{':' if colon else ''}{size % 60:02}"
    expected = moment.replace(tzinfo=UTC) - timedelta(minutes=minutes)
    assert read_time(moment.isoformat(separator) + offset) == expected


NULLS = ["id", "channel", "direction", "properties", "machine", "backfill", "anonymous_id", "email", "external_id"]


@pytest.mark.parametrize("name", NULLS)
async def test_a_key_that_is_null_is_not_there(ingest: Any, name: str) -> None:
    item = {"type": "demo_booked", "customer_id": "c-1", "occurred_at": NOON, "id": "t-1"}
    posted = PostedTouchpoint.model_validate({**item, name: None})
    assert posted == PostedTouchpoint.model_validate({key: value for key, value in item.items() if key != name})
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "touchline.touchpoint", "subject": "c-1"}
    response = await ingest.post(
        {**event, "data": {**item, name: None, "occurred_at": None}, "time": NOON},
        path="/v1/cloudevents",
        content_type="application/cloudevents+json",
    )
    assert response.status_code == 202
    assert ingest.touchpoints()[0]["occurred_at"] == NOON
