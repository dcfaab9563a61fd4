"""Whatever anybody sends, a source answers: it never raises. Signed garbage gets further in, so it is signed here."""

import base64
import contextlib
import hashlib
import hmac
import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from touchline_ingest.core.sources.interface import (
    NeedsCertificate,
    Request,
    RequestRejection,
    SourceConfig,
    Understood,
)
from touchline_ingest.core.sources.mail import ses
from touchline_ingest.core.sources.mail.sendgrid import _draft as sendgrid_draft
from touchline_ingest.core.sources.registry import build_registry
from touchline_ingest.core.sources.values import UnreadableError

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STAMP = str(int(NOW.timestamp()))
SECRET = "user:secret"
WEBHOOK_KEY = b"k" * 32
SOURCES = build_registry().sources
CONFIGS = {kind: SourceConfig("s", kind, (SECRET,), {"topic_arns": ["t"]}) for kind in SOURCES}
CONFIGS["standard-webhooks"] = SourceConfig(
    "s", "standard-webhooks", ("whsec_" + base64.b64encode(WEBHOOK_KEY).decode(),)
)

# Words that the readers look for, so that the garbage has the right shape more often than chance would have it.
WORDS = st.sampled_from(
    [
        "type",
        "event",
        "data",
        "object",
        "id",
        "batch",
        "userId",
        "anonymousId",
        "previousId",
        "traits",
        "email",
        "context",
        "properties",
        "timestamp",
        "sentAt",
        "track",
        "alias",
        "identify",
        "page",
        "specversion",
        "source",
        "subject",
        "time",
        "customer_id",
        "occurred_at",
        "created",
        "metadata",
        "customer",
        "items",
        "subscriptionType",
        "objectId",
        "propertyName",
        "propertyValue",
        "occurredAt",
        "deal.propertyChange",
        "deal.associationChange",
        "associationType",
        "fromObjectId",
        "toObjectId",
        "DEAL_TO_CONTACT",
        "meta",
        "entity",
        "action",
        "entity_id",
        "previous",
        "change",
        "deal",
        "activity",
        "person",
        "emails",
        "value",
        "primary",
        "custom_fields",
        "signature",
        "event-data",
        "opened",
        "failed",
        "recipient",
        "client-info",
        "bot",
        "RecordType",
        "Open",
        "Bounce",
        "Email",
        "Recipient",
        "ReceivedAt",
        "sobject",
        "attributes",
        "Opportunity",
        "Event",
        "StageName",
        "LastModifiedDate",
        "Id",
        "Email",
        "eventType",
        "mail",
        "destination",
        "tags",
        "Delivery",
        "delivery",
        "recipients",
        "Click",
        "bounce",
        "bouncedRecipients",
        "1.0",
        "2026-03-01T11:00:00Z",
        "ada@example.org",
        "customer.subscription.updated",
        "checkout.session.completed",
        "previous_attributes",
        "price",
        "recurring",
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | WORDS
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=8),
    max_leaves=25,
)
BODIES = st.binary(max_size=300) | VALUES.map(lambda value: json.dumps(value).encode())
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "content-type",
            "authorization",
            "ce-id",
            "ce-specversion",
            "ce-source",
            "ce-type",
            "ce-time",
            "ce-subject",
            "stripe-signature",
            "webhook-id",
            "webhook-timestamp",
            "webhook-signature",
            "x-hubspot-signature-v3",
            "x-hubspot-request-timestamp",
            "x-twilio-email-event-webhook-signature",
            "x-twilio-email-event-webhook-timestamp",
        ]
    ),
    st.text(max_size=40)
    | st.sampled_from(["application/cloudevents+json", "application/cloudevents-batch+json", "1.0", STAMP]),
)
PATHS = st.sampled_from(["track", "batch", "alias", "identify", "cloudevents", "webhooks/s", ""])


def answers(kind: str, request: Request) -> None:
    reading = SOURCES[kind].read(request, CONFIGS[kind], NOW)
    assert isinstance(reading, Understood | RequestRejection | NeedsCertificate)
    if isinstance(reading, Understood):
        assert all(isinstance(draft, dict) for draft in reading.touchpoints)
        assert all(isinstance(one.body, bytes) and one.reason for one in reading.unreadable)


@given(st.sampled_from(sorted(SOURCES)), BODIES, HEADERS, PATHS, st.text(max_size=20))
def test_no_request_makes_a_source_raise(kind, body, headers, path, query):
    answers(kind, Request("POST", f"https://x/v1/{path}?{query}", headers, body, {"token": query}))


def signed(kind: str, body: bytes) -> Request:
    def mac(key: bytes, *parts: bytes) -> bytes:
        return hmac.new(key, b"".join(parts), hashlib.sha256).digest()

    secret, stamp = SECRET.encode(), STAMP.encode()
    url = "https://x/v1/webhooks/s"
    headers = {"authorization": "Basic " + base64.b64encode(secret).decode()}
    headers["stripe-signature"] = f"t={STAMP},v1={mac(secret, stamp, b'.', body).hex()}"
    headers["x-hubspot-request-timestamp"] = STAMP + "000"
    headers["x-hubspot-signature-v3"] = base64.b64encode(
        mac(secret, b"POST", url.encode(), body, stamp, b"000")
    ).decode()
    headers |= {"webhook-id": "i", "webhook-timestamp": STAMP}
    headers["webhook-signature"] = "v1," + base64.b64encode(mac(WEBHOOK_KEY, b"i.", stamp, b".", body)).decode()
    return Request("POST", url, headers, body)


@given(st.sampled_from(["stripe", "hubspot", "standard-webhooks", "postmark", "pipedrive", "salesforce"]), BODIES)
def test_no_genuine_garbage_makes_a_source_raise_or_is_lost(kind, body):
    request = signed(kind, body)
    answers(kind, request)
    reading = SOURCES[kind].read(request, CONFIGS[kind], NOW)
    assert isinstance(reading, Understood), "the signature made here is right"
    if body not in (b"[]",) and kind != "salesforce":
        assert reading.touchpoints or reading.unreadable or json.loads(body) == []


@given(VALUES)
def test_no_genuine_event_of_mailgun_makes_it_raise(event):
    token = "t" * 50
    signature = hmac.new(SECRET.encode(), (STAMP + token).encode(), hashlib.sha256).hexdigest()
    body = {"signature": {"timestamp": STAMP, "token": token, "signature": signature}, "event-data": event}
    request = Request("POST", "https://x/", {}, json.dumps(body).encode())
    reading = SOURCES["mailgun"].read(request, CONFIGS["mailgun"], NOW)
    assert isinstance(reading, Understood)
    assert len(reading.touchpoints) + len(reading.unreadable) == 1


@given(st.dictionaries(WORDS, VALUES, max_size=8), st.sampled_from(["Open", "Bounce", "Delivery", "Click", "Send"]))
def test_no_genuine_event_of_ses_or_sendgrid_makes_it_raise(event, name):
    for read in (
        lambda: ses._drafts({**event, "eventType": name}, "message", CONFIGS["ses"]),
        lambda: sendgrid_draft({**event, "event": "open"}, CONFIGS["sendgrid"], b""),
    ):
        with contextlib.suppress(UnreadableError):
            read()
