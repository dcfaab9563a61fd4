"""Kinds: where nothing was paid nothing was purchased; an amount that counts up is told by its rise; a currency's
smallest unit is what its vendor says.
"""

import base64
import hmac
import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stripe import WebhookSignature
from touchline_ingest.core.mapping.amounts import amount_of
from touchline_ingest.core.sources.interface import Request, SourceConfig, Understood
from touchline_ingest.core.sources.payments.stripe import Stripe
from touchline_ingest.core.sources.standard.cloudevents import CloudEvents
from touchline_ingest.core.sources.standard.segment import Segment
from touchline_ingest.core.sources.standard.standard_webhooks import StandardWebhooks
from touchline_schemas.touchpoint import PostedTouchpoint, Touchpoint

SECRET = "whsec_test"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def stripe(now: Any, name: str, thing: dict[str, Any], previous: Any = None, **options: Any) -> Touchpoint:
    data = {"object": {"customer": "cus_1", "currency": "eur"} | thing} | (
        {"previous_attributes": previous} if previous else {}
    )
    event = {"id": "evt_1", "object": "event", "type": name, "created": int(now.timestamp()), "data": data}
    body = json.dumps(event)
    signature = WebhookSignature.generate_signature_header(body, SECRET, int(now.timestamp()))
    request = Request("POST", "https://x/", {"stripe-signature": signature}, body.encode())
    reading = Stripe().read(request, SourceConfig("payments", "stripe", (SECRET,), options), now)
    assert isinstance(reading, Understood)
    (draft,) = reading.touchpoints
    return PostedTouchpoint.model_validate(draft).accepted(id="x", source="payments", received_at=now)


NOTHING = [
    ("invoice.paid", {"amount_paid": 0, "total": 0, "billing_reason": "subscription_create"}),
    ("invoice.paid", {"amount_paid": 0, "subtotal": 2000, "total": 0, "billing_reason": "subscription_cycle"}),
    ("invoice.payment_succeeded", {"amount_paid": 0, "billing_reason": "manual"}),
    ("invoice.payment_succeeded", {"amount_paid": 0, "billing_reason": "subscription_update"}),
    ("checkout.session.completed", {"mode": "payment", "payment_status": "no_payment_required", "amount_total": 0}),
    ("checkout.session.completed", {"mode": "payment", "payment_status": "paid", "amount_total": 0}),
    ("checkout.session.async_payment_succeeded", {"mode": "payment", "amount_total": 0}),
    ("payment_intent.succeeded", {"amount_received": 0, "amount": 500}),
    ("charge.succeeded", {"amount": 0}),
    ("charge.succeeded", {"amount": 500, "captured": False}),
    ("charge.refunded", {"amount": 500, "amount_refunded": 0}),
    ("charge.refunded", {"amount_refunded": 500}, {"amount_refunded": 500}),
    ("refund.created", {"amount": 0}),
    ("refund.created", {"amount": 500, "status": "failed"}),
]


@pytest.mark.parametrize("event", NOTHING, ids=lambda event: f"{event[0]} {sorted(event[1].items())}"[:60])
def test_where_nothing_was_paid_or_given_back_nobody_purchased_or_was_refunded(now: Any, event: Any) -> None:
    touchpoint = stripe(now, *event)
    assert touchpoint.type not in ("purchased", "renewed", "refunded")
    assert touchpoint.direction == "outbound"


def test_a_company_can_say_what_an_event_of_zero_means(now: Any) -> None:
    free = {"amount_paid": 0, "billing_reason": "subscription_create"}
    assert stripe(now, "invoice.paid", free, events={"invoice.paid zero": "trial_started"}).type == "trial_started"
    assert stripe(now, "invoice.paid", free, events={"invoice.paid": "purchased"}).type == "invoice_paid"


@pytest.mark.parametrize(
    ("name", "thing", "type_name", "amount"),
    [
        ("invoice.paid", {"amount_paid": 1250, "billing_reason": "subscription_cycle"}, "renewed", 12.5),
        ("invoice.paid", {"amount_paid": 0, "total": 900, "paid_out_of_band": True}, "purchased", 9.0),
        ("payment_intent.succeeded", {"amount": 900, "amount_received": 500}, "purchased", 5.0),
        ("charge.succeeded", {"amount": 900, "amount_captured": 500, "amount_refunded": 0}, "purchased", 5.0),
        ("charge.succeeded", {"amount": 900, "amount_refunded": 300}, "purchased", 9.0),
        ("refund.created", {"amount": 300, "status": "succeeded"}, "refunded", 3.0),
        ("invoice.payment_failed", {"amount_paid": 0, "amount_due": 700}, "invoice_payment_failed", 7.0),
    ],
)
def test_an_amount_is_what_was_paid(now: Any, name: str, thing: dict[str, Any], type_name: str, amount: float) -> None:
    touchpoint = stripe(now, name, thing)
    assert (touchpoint.type, touchpoint.properties["amount"]) == (type_name, amount)


@given(refunds=st.lists(st.integers(1, 10_000), min_size=1, max_size=6))
def test_refunds_of_a_charge_add_up_to_what_was_given_back(refunds: list[int]) -> None:
    in_all, taken, listed = 0, 0.0, 0.0
    for number, refund in enumerate(refunds):
        previous, in_all = {"amount_refunded": in_all, "refunded": False}, in_all + refund
        taken += stripe(NOW, "charge.refunded", {"amount_refunded": in_all}, previous).properties["amount_minor"]
        newest_first = [{"amount": one, "created": at} for at, one in enumerate(refunds[: number + 1])][::-1]
        thing = {"amount_refunded": in_all, "refunds": {"data": newest_first}}
        listed += stripe(NOW, "charge.refunded", thing).properties["amount_minor"]
    assert taken == listed == sum(refunds)


@pytest.mark.parametrize(
    ("currency", "amount"),
    [
        ("eur", 50.0),
        ("USD", 50.0),
        ("jpy", 5000.0),
        ("KRW", 5000.0),
        ("clp", 5000.0),
        ("xof", 5000.0),
        ("vnd", 5000.0),
        ("kwd", 5.0),
        ("BHD", 5.0),
        ("jod", 5.0),
        ("omr", 5.0),
        ("tnd", 5.0),
        ("isk", 50.0),
        ("ugx", 50.0),
        ("huf", 50.0),
        ("twd", 50.0),
    ],
)
def test_a_smallest_unit_is_the_currencys(now: Any, currency: str, amount: float) -> None:
    paid = stripe(now, "payment_intent.succeeded", {"amount_received": 5000, "currency": currency})
    assert paid.properties["amount"] == amount


@pytest.mark.parametrize(
    ("properties", "type_name"),
    [
        ({"total": 0}, "order_completed"),
        ({"revenue": 0.0, "total": 0}, "order_completed"),
        ({"total": 12}, "purchased"),
        ({"total": 0, "revenue": 5}, "purchased"),
        ({}, "purchased"),
        ({"total": "free"}, "purchased"),
        ({"total": "0.00"}, "order_completed"),
        ({"revenue": "0", "currency": "EUR"}, "order_completed"),
        ({"total": "$0.00"}, "order_completed"),
        ({"total": "0,00 €"}, "order_completed"),
        ({"total": " EUR 0 ", "value": None}, "order_completed"),
        ({"total": "0.00", "value": 0}, "order_completed"),
        ({"total": "0.00", "value": "5"}, "purchased"),
        ({"total": "0.01"}, "purchased"),
        ({"total": "10"}, "purchased"),
        ({"total": "1,000.00"}, "purchased"),
        ({"total": ""}, "purchased"),
        ({"total": False}, "purchased"),
        ({"total": ["0"]}, "purchased"),
    ],
)
def test_a_free_order_of_segment_is_no_purchase(now: Any, properties: dict[str, Any], type_name: str) -> None:
    call = {"userId": "u1", "event": "Order Completed", "properties": properties}
    request = Request("POST", "https://x/v1/track", {}, json.dumps(call).encode())
    reading = Segment().read(request, SourceConfig("shop", "segment"), now)
    assert isinstance(reading, Understood)
    assert [draft["type"] for draft in reading.touchpoints] == [type_name]
    own = SourceConfig("shop", "segment", options={"events": {"Order Completed": "purchased"}})
    configured = Segment().read(request, own, now)
    assert isinstance(configured, Understood)
    assert [draft["type"] for draft in configured.touchpoints] == ["purchased"]


def general(now: Any, door: str, name: str, data: dict[str, Any], **options: Any) -> list[str]:
    """The types of what one event with an amount becomes at a door that takes foreign events."""
    return [draft["type"] for draft in general_drafts(now, door, name, data, **options)]


def general_drafts(now: Any, door: str, name: str, data: dict[str, Any], **options: Any) -> list[Any]:
    config = SourceConfig("shop", door, (WEBHOOK_SECRET,), options)
    if door == "segment":
        call = {"userId": "u1", "event": name, "properties": data}
        reading = Segment().read(Request("POST", "https://x/v1/track", {}, json.dumps(call).encode()), config, now)
    elif door == "cloudevents":
        event = {"specversion": "1.0", "id": "1", "source": "/s", "type": name, "subject": "c", "data": data}
        headers = {"content-type": "application/cloudevents+json"}
        reading = CloudEvents().read(Request("POST", "https://x/", headers, json.dumps(event).encode()), config, now)
    else:
        hook = {"type": name, "timestamp": "2026-03-01T12:00:00Z", "data": {"customer_id": "c", **data}}
        body, stamp = json.dumps(hook).encode(), str(int(now.timestamp()))
        digest = hmac.new(base64.b64decode(WEBHOOK_SECRET[6:]), f"m.{stamp}.".encode() + body, "sha256").digest()
        signature = "v1," + base64.b64encode(digest).decode()
        headers = {"webhook-id": "m", "webhook-timestamp": stamp, "webhook-signature": signature}
        reading = StandardWebhooks().read(Request("POST", "https://x/", headers, body), config, now)
    assert isinstance(reading, Understood)
    assert not reading.unreadable
    return list(reading.touchpoints)


WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"a secret of this test").decode()


@pytest.mark.parametrize("door", ["segment", "cloudevents", "standard-webhooks"])
@pytest.mark.parametrize("nothing", [{"total": 0}, {"amount": "0.00"}, {"revenue": 0.0, "value": "0"}])
@pytest.mark.parametrize(
    "name", ["Order Completed", "purchased", "Purchased", "Subscription Renewed", "Refund Issued", "order_refunded"]
)
def test_nothing_paid_is_no_payment_at_any_door(now: Any, door: str, nothing: dict[str, Any], name: str) -> None:
    assert not set(general(now, door, name, nothing)) & {"purchased", "renewed", "refunded"}
    assert set(general(now, door, name, {"total": "9.90"})) <= {"purchased", "renewed", "refunded"}
    assert general(now, door, name, nothing, events={name: "purchased"}) == ["purchased"]


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("49.90", 49.9),
        ("$49.90", 49.9),
        ("USD 49.90", 49.9),
        ("49,90 €", 49.9),
        ("1,234.50", 1234.5),
        ("1.234,50 €", 1234.5),
        ("1 234,50", 1234.5),
        ("CHF 1'234.50", 1234.5),
        ("1,234,567", 1234567),
        ("1\u202f234,50\u00a0€", 1234.5),
        ("-20.00", -20),
        ("- $20", -20),
        ("0E-8", 0),
        ("12", 12),
        ("1,234", None),
        ("1,2,3", None),
        ("12.34.56", None),
        ("free", None),
        ("", None),
        ("nan", None),
        ("1_000", None),
        ("12 apples and 3 pears", None),
        ("9" * 80, None),
    ],
)
def test_an_amount_that_is_a_text_is_read_where_it_means_one_number(written: str, amount: float | None) -> None:
    assert amount_of(written) == amount


@given(st.one_of(st.text(), st.text(alphabet="0123456789.,-+ $€'\u00a0eE")))
def test_any_text_is_an_amount_or_none(written: str) -> None:
    found = amount_of(written)
    assert found is None or math.isfinite(found)


@pytest.mark.parametrize("door", ["segment", "cloudevents", "standard-webhooks"])
@pytest.mark.parametrize(
    ("stated", "amount"),
    [
        ({"revenue": 25}, 25),
        ({"revenue": "25.00"}, 25),
        ({"total": "1.234,50 €"}, 1234.5),
        ({"amount": "USD 9.90"}, 9.9),
        ({"value": None, "revenue": 3.5}, 3.5),
    ],
)
def test_a_payment_adds_up_whichever_field_and_form_states_it(
    now: Any, door: str, stated: dict[str, Any], amount: float
) -> None:
    (draft,) = general_drafts(now, door, "Order Completed", stated)
    assert draft["properties"]["amount"] == amount
    assert {**stated, "amount": amount}.keys() <= draft["properties"].keys()


def test_what_is_a_number_already_stays_as_it_is(now: Any) -> None:
    (draft,) = general_drafts(now, "segment", "Order Completed", {"total": 20, "revenue": 18, "amount": "20 €"})
    assert draft["properties"]["amount"] == "20 €"
    (draft,) = general_drafts(now, "segment", "Product Viewed", {"revenue": "25"})
    assert "amount" not in draft["properties"]
