import json
from datetime import UTC, datetime

import pytest
from cloudevents.core.bindings.http import to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from touchline_ingest.core.sources.interface import Request, RequestRejection
from touchline_ingest.core.sources.standard.cloudevents import CloudEvents
from touchline_notifier.core.profiles.profile import suppression_of

SOURCE = CloudEvents()
URL = "https://in.example.org/v1/cloudevents"
EVENT = {
    "specversion": "1.0",
    "id": "e1",
    "source": "/shop",
    "type": "purchased",
    "subject": "u1",
    "data": {"total": 5},
}


@pytest.fixture
def read(configured, now):
    def run(body, content_type="application/cloudevents+json", options=None, **headers):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = Request("POST", URL, {"content-type": content_type, **named}, raw)
        return SOURCE.read(request, configured("cloudevents", **(options or {})), now)

    return run


@pytest.mark.parametrize("to_http", [to_binary, to_structured])
def test_what_the_official_library_sends_is_read(read, accepted, to_http):
    attributes = {
        "type": "purchased",
        "source": "/shop/ünïcode 100%",
        "id": "e 1",
        "subject": "Zoë",
        "time": datetime(2026, 3, 1, 11, 0, tzinfo=UTC),
        "datacontenttype": "application/json",
    }
    message = to_http(CloudEvent(attributes, {"total": 5}), JSONFormat())
    headers = {name.lower(): value for name, value in message.headers.items()}
    body = message.body.encode() if isinstance(message.body, str) else message.body
    (touchpoint,) = accepted(read(body, headers.pop("content-type"), **headers))
    assert (touchpoint.type, touchpoint.key) == ("purchased", "Zoë")
    assert touchpoint.occurred_at == datetime(2026, 3, 1, 11, 0, tzinfo=UTC)
    assert touchpoint.properties["total"] == 5
    assert touchpoint.properties["cloudevent"]["source"] == "/shop/ünïcode 100%"


def test_source_and_id_together_make_the_touchpoints_id(read, accepted):
    batch = [EVENT, EVENT | {"source": "/other"}, EVENT]
    first, other, again = accepted(read(batch, "application/cloudevents-batch+json"))
    assert first.id == again.id != other.id


def test_an_empty_batch_is_a_batch(read, accepted):
    assert accepted(read([], "application/cloudevents-batch+json; charset=utf-8")) == []


def test_data_that_is_a_touchpoint_is_read_as_one(read, accepted):
    data = {"id": "t1", "type": "demo_booked", "customer_id": "u2", "occurred_at": "2026-02-01T00:00:00Z"}
    (touchpoint,) = accepted(read(EVENT | {"type": "touchline.touchpoint", "data": data}))
    assert (touchpoint.id, touchpoint.type, touchpoint.key) == ("t1", "demo_booked", "u2")


def test_identifiers_are_lifted_out_of_other_data(read, accepted):
    (touchpoint,) = accepted(read(EVENT | {"data": {"email": "ada@example.org", "total": 5}}))
    assert touchpoint.keys == ["email:ada@example.org"]
    assert touchpoint.properties["total"] == 5


def test_a_type_can_be_mapped_and_is_kept_as_it_is_otherwise(read, accepted):
    mapped = read(EVENT | {"type": "com.shop.order.paid"}, options={"events": {"com.shop.order.paid": "purchased"}})
    assert accepted(mapped)[0].type == "purchased"
    assert accepted(read(EVENT | {"type": "com.shop.order.paid"}))[0].type == "com.shop.order.paid"


def test_without_a_time_it_happened_now(read, accepted, now):
    assert accepted(read(EVENT))[0].occurred_at == now


def test_one_bad_event_costs_itself_alone(read):
    bad = [
        {**EVENT, "id": ""},
        {**EVENT, "specversion": "0.3"},
        {**EVENT, "time": "yesterday"},
        {**EVENT, "Bad-Name": "x"},
        3,
    ]
    reading = read([EVENT, *bad], "application/cloudevents-batch+json")
    assert len(reading.touchpoints) == 1
    assert [one.index for one in reading.unreadable] == [1, 2, 3, 4, 5]


HEADERS = {"ce_specversion": "1.0", "ce_id": "e1", "ce_source": "/shop", "ce_type": "purchased", "ce_subject": "u1"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({**HEADERS, "ce_datacontenttype": "application/json"}, 400),
        ({**HEADERS, "ce_subject": "%ff%fe"}, 400),
        ({}, 400),
    ],
)
def test_binary_mode_refuses_what_the_specification_forbids(read, headers, status):
    refused = read(b"{}", "application/json", **headers)
    assert isinstance(refused, RequestRejection)
    assert refused.status == status


@pytest.mark.parametrize("content_type", ["application/cloudevents+avro", "application/cloudevents-batch+protobuf"])
def test_other_formats_are_not_supported(read, content_type):
    assert read(b"", content_type).status == 415


def test_headers_are_decoded_once(read, accepted):
    (touchpoint,) = accepted(read(b"{}", "application/json", **{**HEADERS, "ce_subject": "100%2525"}))
    assert touchpoint.key == "100%25"


def test_data_that_is_not_json_is_kept(read, accepted):
    (text,) = accepted(read("schön".encode(), "text/plain", **HEADERS))
    assert text.properties["data"] == "schön"
    (binary,) = accepted(read(b"\x00\xff", "application/octet-stream", **HEADERS))
    assert binary.properties["data"] == "AP8="


LEAVING = EVENT | {"type": "unsubscribed", "subject": None}


@pytest.mark.parametrize(
    "own",
    [
        {"channel": "newsletter"},
        {"channel": "newsletter", "type": "weekly"},
        {"type": "weekly"},
        {"direction": "north", "source": "form", "machine": "m-7"},
        {"channel": "newsletter", "properties": None},
    ],
)
def test_a_senders_own_fields_do_not_hide_an_unsubscribe(read, accepted, own):
    (touchpoint,) = accepted(read(LEAVING | {"data": {"email": "ada@example.org"} | own}))
    assert touchpoint.type == "unsubscribed"
    suppression = suppression_of(touchpoint)
    assert suppression is not None
    assert not suppression.lifted


@pytest.mark.parametrize("nobody", ["undefined", "null", "[object Object]", "0", "", None, 0, [], "{{ id }}"])
def test_a_placeholder_names_nobody_and_the_next_name_does(read, accepted, nobody):
    (touchpoint,) = accepted(read(EVENT | {"data": {"customer_id": nobody, "anonymous_id": "a1"}}))
    assert touchpoint.keys == ["anon:a1"]
    (touchpoint,) = accepted(read(EVENT | {"data": {"customer_id": nobody, "email": "undefined@undefined"}}))
    assert touchpoint.keys == ["u1"]
    assert len(read(EVENT | {"subject": str(nobody or "null"), "data": {"x": 1}}).touchpoints) == 1


def test_an_id_that_is_a_number_is_an_id(read, accepted):
    (touchpoint,) = accepted(read(EVENT | {"data": {"customer_id": 42, "score": 7}}))
    assert (touchpoint.key, touchpoint.properties["score"]) == ("42", 7)
