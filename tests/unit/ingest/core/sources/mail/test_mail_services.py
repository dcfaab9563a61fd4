"""SendGrid, Mailgun and Postmark: signatures, what events become, and who did it."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sendgrid.helpers.eventwebhook import EventWebhook
from touchline_ingest.core.sources.interface import RequestRejection, Understood
from touchline_ingest.core.sources.mail.mailgun import Mailgun
from touchline_ingest.core.sources.mail.postmark import Postmark
from touchline_ingest.core.sources.mail.sendgrid import SendGrid

KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = base64.b64encode(KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
AT = 1772362800
HUMAN = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17 Safari/605"


def sendgrid_request(post, events, at):
    body = events if isinstance(events, bytes) else json.dumps(events).encode()
    timestamp = str(int(at.timestamp()))
    signature = base64.b64encode(KEY.sign(timestamp.encode() + body, ec.ECDSA(SHA256()))).decode()
    assert EventWebhook(PUBLIC).verify_signature(body.decode(), signature, timestamp)
    return post(
        body,
        x_twilio_email_event_webhook_signature=signature,
        x_twilio_email_event_webhook_timestamp=timestamp,
    )


def sendgrid_event(name, **fields):
    return {"event": name, "email": "Ada@example.org", "timestamp": AT, "sg_event_id": f"sg-{name}", **fields}


def test_sendgrids_events_are_normalised(post, configured, now, accepted):
    names = ["processed", "deferred", "dropped", "delivered", "bounce", "open", "click", "spamreport", "unsubscribe"]
    names += ["group_unsubscribe", "group_resubscribe"]
    request = sendgrid_request(post, [sendgrid_event(name, asm_group_id=7) for name in names], now)
    touchpoints = accepted(SendGrid().read(request, configured("sendgrid", PUBLIC), now))
    assert [touchpoint.type for touchpoint in touchpoints] == [
        *("email_sent", "email_deferred", "email_dropped", "email_delivered", "email_bounced", "email_opened"),
        *("email_clicked", "email_complained", "unsubscribed", "unsubscribed", "subscribed"),
    ]
    assert {touchpoint.key for touchpoint in touchpoints} == {"email:ada@example.org"}
    assert {touchpoint.channel for touchpoint in touchpoints} == {"email"}
    assert touchpoints[3].direction == "outbound"
    assert touchpoints[5].direction == "inbound"
    assert touchpoints[5].id == "sg-open"
    assert touchpoints[5].occurred_at == datetime.fromtimestamp(AT, UTC)


def test_sendgrids_machine_opens_are_flagged(post, configured, now, accepted):
    events = [
        sendgrid_event("open", sg_machine_open=True, useragent=HUMAN),
        sendgrid_event("open", sg_machine_open=False, useragent=HUMAN),
        sendgrid_event("click", useragent="Barracuda Sentinel (EE)"),
        # Nobody's agent delivers: that is the service's own doing, machine or not.
        sendgrid_event("delivered", useragent="Barracuda Sentinel (EE)"),
    ]
    request = sendgrid_request(post, events, now)
    touchpoints = accepted(SendGrid().read(request, configured("sendgrid", PUBLIC), now))
    assert [touchpoint.machine for touchpoint in touchpoints] == [True, False, True, False]


def test_what_the_company_attached_to_a_mail_links_the_address(post, configured, now, accepted):
    request = sendgrid_request(
        post, [sendgrid_event("click", customer_id="u1", url="https://x", campaign="spring")], now
    )
    (touchpoint,) = accepted(SendGrid().read(request, configured("sendgrid", PUBLIC), now))
    assert touchpoint.keys == ["u1", "email:ada@example.org"]
    assert touchpoint.properties == {"url": "https://x", "custom_args": {"campaign": "spring"}}


def test_a_tampered_sendgrid_request_is_refused(post, configured, now):
    request = sendgrid_request(post, [sendgrid_event("open")], now)
    config = configured("sendgrid", PUBLIC)
    moved = request.headers | {"x-twilio-email-event-webhook-timestamp": str(int(now.timestamp()) + 1)}
    other = base64.b64encode(
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).decode()
    for tampered, by in (
        (post(request.body.replace(b"Ada", b"Eve"), **request.headers), config),
        (post(request.body, **moved), config),
        (post(request.body), config),
        (request, configured("sendgrid", other)),
    ):
        refused = SendGrid().read(tampered, by, now)
        assert isinstance(refused, RequestRejection)
        assert refused.status == 401


@pytest.mark.parametrize("age", [timedelta(seconds=301), timedelta(seconds=-301)])
def test_a_replayed_or_future_dated_mail_webhook_is_refused(post, configured, now, age):
    stale = sendgrid_request(post, [sendgrid_event("open")], now - age)
    for reading in (
        SendGrid().read(stale, configured("sendgrid", PUBLIC), now),
        Mailgun().read(mailgun_request(post, mailgun_event("opened"), now - age), configured("mailgun", "key"), now),
    ):
        assert isinstance(reading, RequestRejection)
        assert reading.status == 401
        assert reading.title.startswith("request ")


def test_a_longer_tolerance_can_be_set(post, configured, now, accepted):
    request = sendgrid_request(post, [sendgrid_event("open")], now - timedelta(hours=2))
    config = configured("sendgrid", PUBLIC, tolerance_seconds=86400)
    assert SendGrid().check(config) == []
    assert accepted(SendGrid().read(request, config, now))
    ahead = sendgrid_request(post, [sendgrid_event("open")], now + timedelta(hours=2))
    assert isinstance(SendGrid().read(ahead, config, now), RequestRejection)


def mailgun_event(name, **fields):
    return {"event": name, "id": f"mg-{name}", "timestamp": AT + 0.25, "recipient": "ada@example.org", **fields}


def mailgun_request(post, event, at, token="t" * 50, key="key"):
    timestamp = str(int(at.timestamp()))
    signature = hmac.new(key.encode(), (timestamp + token).encode(), hashlib.sha256).hexdigest()
    signed = {"timestamp": timestamp, "token": token, "signature": signature}
    return post({"signature": signed, "event-data": event})


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (mailgun_event("delivered"), "email_delivered"),
        (mailgun_event("opened"), "email_opened"),
        (mailgun_event("clicked"), "email_clicked"),
        (mailgun_event("unsubscribed"), "unsubscribed"),
        (mailgun_event("complained"), "email_complained"),
        (mailgun_event("failed", severity="permanent"), "email_bounced"),
        (mailgun_event("failed", severity="temporary"), "email_deferred"),
        (mailgun_event("accepted"), "email_sent"),
    ],
)
def test_mailguns_events_are_normalised(post, configured, now, accepted, event, expected):
    reading = Mailgun().read(mailgun_request(post, event, now), configured("mailgun", "key"), now)
    (touchpoint,) = accepted(reading)
    assert (touchpoint.type, touchpoint.id, touchpoint.key) == (expected, event["id"], "email:ada@example.org")
    assert isinstance(reading, Understood)
    assert reading.reply is not None
    assert reading.reply.status == 200
    assert reading.tokens == ("t" * 50,)


def test_mailguns_bots_are_machines(post, configured, now, accepted):
    verdicts = []
    for bot in ("apple", ""):
        event = mailgun_event("opened", **{"client-info": {"bot": bot, "user-agent": HUMAN}})
        reading = Mailgun().read(mailgun_request(post, event, now), configured("mailgun", "key"), now)
        verdicts += [touchpoint.machine for touchpoint in accepted(reading)]
    assert verdicts == [True, False]


def test_a_tampered_mailgun_signature_is_refused(post, configured, now):
    good = json.loads(mailgun_request(post, mailgun_event("opened"), now).body)
    config = configured("mailgun", "key")
    for change in (
        {"token": "u" * 50},
        {"timestamp": str(int(now.timestamp()) + 1)},
        {"signature": "00" * 32},
        {"signature": "x"},
    ):
        refused = Mailgun().read(post(good | {"signature": good["signature"] | change}), config, now)
        assert isinstance(refused, RequestRejection)
        assert refused.status == 401
    assert isinstance(Mailgun().read(post({}), config, now), RequestRejection)


def test_a_mailgun_event_that_makes_no_touchpoint_is_kept(post, configured, now):
    reading = Mailgun().read(mailgun_request(post, {"event": "list_uploaded"}, now), configured("mailgun", "key"), now)
    assert isinstance(reading, Understood)
    assert json.loads(reading.unreadable[0].body) == {"event": "list_uploaded"}


def basic(credentials):
    return "Basic " + base64.b64encode(credentials.encode()).decode()


POSTMARK: dict[str, tuple[str, dict[str, Any]]] = {
    "Delivery": ("email_delivered", {"DeliveredAt": "2026-03-01T11:00:00Z", "Recipient": "ada@example.org"}),
    "Bounce": (
        "email_bounced",
        {"BouncedAt": "2026-03-01T11:00:00Z", "Email": "ada@example.org", "Type": "HardBounce"},
    ),
    "SpamComplaint": ("email_complained", {"BouncedAt": "2026-03-01T11:00:00Z", "Email": "ada@example.org"}),
    "Open": ("email_opened", {"ReceivedAt": "2026-03-01T11:00:00Z", "Recipient": "ada@example.org"}),
    "Click": ("email_clicked", {"ReceivedAt": "2026-03-01T11:00:00Z", "Recipient": "ada@example.org"}),
    "SubscriptionChange": (
        "unsubscribed",
        {"ChangedAt": "2026-03-01T11:00:00Z", "Recipient": "ada@example.org", "SuppressSending": True},
    ),
}


@pytest.mark.parametrize("name", POSTMARK)
def test_postmarks_records_are_normalised(post, configured, now, accepted, name):
    expected, fields = POSTMARK[name]
    record = {"RecordType": name, "MessageID": "m1", "Metadata": {"customer_id": "u1"}, **fields}
    request = post(record, authorization=basic("user:pass:word"))
    config = configured("postmark", "user:pass:word")
    (touchpoint,) = accepted(Postmark().read(request, config, now))
    (again,) = accepted(Postmark().read(request, config, now))
    assert touchpoint.type == expected
    assert touchpoint.keys == ["u1", "email:ada@example.org"]
    assert touchpoint.id == again.id
    assert touchpoint.occurred_at == datetime(2026, 3, 1, 11, 0, tzinfo=UTC)


def test_an_apple_proxy_is_a_machine_and_gmails_image_proxy_is_not(post, configured, now, accepted):
    verdicts = []
    for agent in (
        "Mozilla/5.0",
        "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
        HUMAN,
    ):
        record = {"RecordType": "Open", "UserAgent": agent, **POSTMARK["Open"][1]}
        request = post(record, authorization=basic("u:p"))
        verdicts += [one.machine for one in accepted(Postmark().read(request, configured("postmark", "u:p"), now))]
    assert verdicts == [True, False, False]


@pytest.mark.parametrize("authorization", [None, "Basic", "Basic !!", basic("u:q"), basic("u"), "Bearer u:p"])
def test_postmark_without_the_right_credentials_is_challenged(post, configured, now, authorization):
    named = {"authorization": authorization} if authorization else {}
    refused = Postmark().read(post({"RecordType": "Open"}, **named), configured("postmark", "u:p"), now)
    assert isinstance(refused, RequestRejection)
    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"].startswith("Basic")


def test_a_postmark_record_of_another_type_is_kept(post, configured, now):
    request = post({"RecordType": "SMTPApiError"}, authorization=basic("u:p"))
    reading = Postmark().read(request, configured("postmark", "u:p"), now)
    assert isinstance(reading, Understood)
    assert "SMTPApiError" in reading.unreadable[0].reason


@pytest.mark.parametrize(
    ("source", "secrets"),
    [(SendGrid(), ("no key",)), (SendGrid(), ()), (Mailgun(), ("",)), (Postmark(), ("nocolon",)), (Postmark(), ())],
)
def test_a_source_that_could_verify_nothing_says_so_at_start(configured, source, secrets):
    assert source.check(configured(source.kind, *secrets))
