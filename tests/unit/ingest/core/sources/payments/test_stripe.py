import json
from datetime import UTC, datetime, timedelta

import pytest
from stripe import WebhookSignature
from touchline_ingest.core.sources.interface import RequestRejection
from touchline_ingest.core.sources.payments.stripe import Stripe

SOURCE = Stripe()
SECRET = "whsec_test"
CREATED = 1772362800


def event(kind, thing, previous=None):
    data = {"object": thing} | ({"previous_attributes": previous} if previous else {})
    return {"id": "evt_1", "object": "event", "type": kind, "created": CREATED, "livemode": True, "data": data}


SESSION = {
    "id": "cs_1",
    "object": "checkout.session",
    "mode": "payment",
    "payment_status": "paid",
    "client_reference_id": "u1",
    "customer": "cus_1",
    "customer_details": {"email": "Ada@example.org"},
    "amount_total": 1250,
    "currency": "eur",
}


@pytest.fixture
def read(post, configured, now):
    def run(body, at=None, secrets=(SECRET,), sign_with=SECRET, **options):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        timestamp = int((at or now).timestamp())
        header = WebhookSignature.generate_signature_header(raw.decode(), sign_with, timestamp)
        return SOURCE.read(post(raw, stripe_signature=header), configured("stripe", *secrets, **options), now)

    return run


def test_what_stripes_library_signs_is_read(read, accepted):
    (touchpoint,) = accepted(read(event("checkout.session.completed", SESSION)))
    assert (touchpoint.id, touchpoint.type, touchpoint.channel) == ("evt_1", "purchased", "commerce")
    assert touchpoint.keys == ["u1", "email:ada@example.org", "ext:vendor:cus_1"]
    assert touchpoint.occurred_at == datetime.fromtimestamp(CREATED, UTC)
    assert (touchpoint.properties["amount"], touchpoint.properties["currency"]) == (12.5, "eur")


ITEM = {"quantity": 1, "price": {"unit_amount": 1000, "recurring": {"interval": "month", "interval_count": 1}}}
YEARLY = {"quantity": 1, "price": {"unit_amount": 9000, "recurring": {"interval": "year", "interval_count": 1}}}
SUBSCRIPTION = {"object": "subscription", "customer": "cus_1"}


@pytest.mark.parametrize(
    ("kind", "thing", "previous", "expected"),
    [
        ("payment_intent.succeeded", {"customer": "cus_1"}, None, "purchased"),
        ("charge.succeeded", {"customer": "cus_1"}, None, "purchased"),
        ("invoice.paid", {"customer": "cus_1", "billing_reason": "subscription_create"}, None, "purchased"),
        ("invoice.paid", {"customer": "cus_1", "billing_reason": "subscription_cycle"}, None, "renewed"),
        ("charge.refunded", {"customer": "cus_1", "amount_refunded": 5}, None, "refunded"),
        ("customer.subscription.created", SUBSCRIPTION | {"status": "trialing"}, None, "trial_started"),
        ("customer.subscription.deleted", SUBSCRIPTION, None, "cancelled"),
        (
            "customer.subscription.updated",
            SUBSCRIPTION | {"items": {"data": [ITEM]}},
            {"items": {"data": [YEARLY]}},
            "upgraded",
        ),
        (
            "customer.subscription.updated",
            SUBSCRIPTION | {"items": {"data": [YEARLY]}},
            {"items": {"data": [ITEM]}},
            "downgraded",
        ),
    ],
)
def test_payments_become_touchpoints(read, accepted, kind, thing, previous, expected):
    assert accepted(read(event(kind, thing, previous)))[0].type == expected


def test_one_payment_does_not_count_twice_where_stripe_says_so(read, accepted):
    kinds = [
        event("checkout.session.completed", SESSION | {"mode": "subscription"}),
        event("checkout.session.completed", SESSION | {"payment_status": "unpaid"}),
        event("payment_intent.succeeded", {"customer": "cus_1", "invoice": "in_1"}),
        event("charge.succeeded", {"customer": "cus_1", "payment_intent": "pi_1"}),
    ]
    for one in kinds:
        (touchpoint,) = accepted(read(one))
        assert touchpoint.type != "purchased"
        assert touchpoint.direction == "outbound"


def test_an_event_of_no_known_meaning_is_kept_as_outbound_until_it_is_mapped(read, accepted):
    failed = event("invoice.payment_failed", {"customer": "cus_1"})
    (kept,) = accepted(read(failed))
    assert (kept.type, kept.direction, kept.key) == ("invoice_payment_failed", "outbound", "ext:vendor:cus_1")
    (mapped,) = accepted(read(failed, events={"invoice.payment_failed": "complaint_made"}))
    assert (mapped.type, mapped.direction, mapped.channel) == ("complaint_made", "inbound", "support")


def test_an_event_that_names_no_customer_goes_to_the_dead_letters_with_its_bytes(read):
    body = event("product.updated", {"id": "prod_1"})
    (unreadable,) = read(body).unreadable
    assert json.loads(unreadable.body) == body
    assert "names no customer" in unreadable.reason


@pytest.mark.parametrize(
    ("age", "title"),
    [(timedelta(seconds=301), "request too old"), (timedelta(seconds=-301), "request from the future")],
)
def test_a_replayed_or_future_dated_request_is_refused(read, now, age, title):
    refused = read(event("checkout.session.completed", SESSION), at=now - age)
    assert isinstance(refused, RequestRejection)
    assert (refused.status, refused.title) == (401, title)


def test_a_retired_secret_is_good_while_both_are_configured(read):
    body = event("checkout.session.completed", SESSION)
    assert not isinstance(read(body, secrets=("whsec_new", SECRET)), RequestRejection)
    assert isinstance(read(body, secrets=("whsec_new",)), RequestRejection)


def test_a_tampered_request_is_refused(post, configured, now):
    raw = json.dumps(event("checkout.session.completed", SESSION))
    timestamp = int(now.timestamp())
    header = WebhookSignature.generate_signature_header(raw, SECRET, timestamp)
    for body, named in (
        (raw.replace("u1", "u2"), header),
        (raw, header.replace(f"t={timestamp}", f"t={timestamp + 1}")),
        (raw, header.replace("v1=", "v0=")),
        (raw, f"t={timestamp},v1="),
        (raw, ""),
    ):
        refused = SOURCE.read(post(body.encode(), stripe_signature=named), configured("stripe", SECRET), now)
        assert isinstance(refused, RequestRejection)
        assert refused.status == 401
