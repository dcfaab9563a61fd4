"""The other side of every webhook door: requests as the vendors make them, by their own libraries where they sign.

Each vendor has an entry for the sources file and makes a delivery: headers and body, signed at a time.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import stripe
import svix
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hubspot.utils.signature import Signature
from sendgrid.helpers.eventwebhook import EventWebhook
from standardwebhooks import Webhook

WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PUBLIC_URL = "https://in.example.org"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:mail"
CERTIFICATE_URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123abcd.pem"
_MAIL_KEY = ec.generate_private_key(ec.SECP256R1())
_MAIL_PUBLIC = base64.b64encode(
    _MAIL_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).decode()
_SNS_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True)
class Delivery:
    """One request."""

    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Vendor:
    """A vendor whose webhooks come in under its name.

    Attributes:
        entry: of the sources file, without the name.
        deliver: a genuine request, signed at a time.
        forge: takes a genuine request and changes what it says.
        max_age: how old a request may be; None: its proof has no age.
    """

    name: str
    entry: str
    deliver: Callable[[datetime], Delivery]
    forge: Callable[[Delivery], Delivery]
    max_age: timedelta | None = timedelta(minutes=5)


def _body(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()


def _edit(old: bytes, new: bytes) -> Callable[[Delivery], Delivery]:
    def forge(genuine: Delivery) -> Delivery:
        assert old in genuine.body
        return Delivery(genuine.headers, genuine.body.replace(old, new, 1))

    return forge


def _without_credentials(genuine: Delivery) -> Delivery:
    return Delivery({"authorization": "Basic " + base64.b64encode(b"user:wrong").decode()}, genuine.body)


def _stripe(at: datetime) -> Delivery:
    charge = {"object": "charge", "id": "ch_1", "amount_refunded": 500, "currency": "eur", "customer": "cus_1"}
    event = {"id": "evt_1", "object": "event", "type": "charge.refunded", "created": 1788000000}
    body = _body(event | {"data": {"object": charge}})
    moment = int(at.timestamp())
    signature = stripe.WebhookSignature._compute_signature(f"{moment}.{body.decode()}", WHSEC)
    return Delivery({"stripe-signature": f"t={moment},v1={signature}"}, body)


def _standard(at: datetime, library: Any, prefix: str) -> Delivery:
    event = {"type": "survey_answered", "timestamp": "2026-09-01T10:00:00Z", "data": {"customer_id": "c-1", "score": 9}}
    body = _body(event)
    signature = library(WHSEC).sign("msg_1", at, body.decode())
    names = {"id": "msg_1", "timestamp": str(int(at.timestamp())), "signature": signature}
    return Delivery({f"{prefix}-{name}": value for name, value in names.items()}, body)


def _sendgrid(at: datetime) -> Delivery:
    # SendGrid ends its bodies with a line break, and signs it too.
    body = (
        _body([{"email": "ada@example.org", "timestamp": 1788000000, "event": "click", "sg_event_id": "sg-1"}])
        + b"\r\n"
    )
    moment = str(int(at.timestamp()))
    signature = base64.b64encode(_MAIL_KEY.sign(moment.encode() + body, ec.ECDSA(SHA256()))).decode()
    theirs = EventWebhook()
    assert theirs.verify_signature(body.decode(), signature, moment, theirs.convert_public_key_to_ecdsa(_MAIL_PUBLIC))
    name = "x-twilio-email-event-webhook"
    return Delivery({f"{name}-signature": signature, f"{name}-timestamp": moment}, body)


def _mailgun(at: datetime) -> Delivery:
    moment, token = str(int(at.timestamp())), "single-use-token"
    signature = hmac.new(b"signing-key", (moment + token).encode(), hashlib.sha256).hexdigest()
    event = {"event": "opened", "id": "mg-1", "timestamp": 1788000000.5, "recipient": "ada@example.org"}
    return Delivery(
        {}, _body({"signature": {"timestamp": moment, "token": token, "signature": signature}, "event-data": event})
    )


def _hubspot(at: datetime) -> Delivery:
    event = {"eventId": 1, "subscriptionType": "deal.creation", "objectId": 7, "occurredAt": 1788000000000}
    body, moment = _body([event]), str(int(at.timestamp() * 1000))
    signature = Signature.get_signature(
        "client-secret", body.decode(), "v3", http_method="POST",
        http_uri=f"{PUBLIC_URL}/v1/webhooks/hubspot", timestamp=moment,
    )  # fmt: skip
    return Delivery({"x-hubspot-signature-v3": signature, "x-hubspot-request-timestamp": moment}, body)


def _ses(at: datetime, version: str) -> Delivery:
    mail = {"timestamp": "2026-09-01T10:00:00Z", "messageId": "ses-1", "destination": ["ada@example.org"]}
    click = {"timestamp": "2026-09-01T11:00:00.123Z", "link": "https://example.org"}
    message = {
        "Type": "Notification",
        "MessageId": "sns-1",
        "TopicArn": TOPIC,
        "Message": json.dumps({"eventType": "Click", "mail": mail, "click": click}),
        "Timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    }
    text = "".join(f"{name}\n{message[name]}\n" for name in ("Message", "MessageId", "Timestamp", "TopicArn", "Type"))
    signature = _SNS_KEY.sign(text.encode(), PKCS1v15(), SHA1() if version == "1" else SHA256())
    signed = {"SignatureVersion": version, "Signature": base64.b64encode(signature).decode()}
    # SNS calls its JSON plain text.
    return Delivery(
        {"content-type": "text/plain; charset=UTF-8"}, _body(message | signed | {"SigningCertURL": CERTIFICATE_URL})
    )


def _basic(body: Any) -> Callable[[datetime], Delivery]:
    authorization = "Basic " + base64.b64encode(b"user:password").decode()
    return lambda _: Delivery({"authorization": authorization, "content-type": "application/json"}, _body(body))


_CREDENTIALS = 'secret: {value: "user:password"}'
_OPEN = {
    "RecordType": "Open", "MessageID": "pm-1", "Recipient": "ada@example.org", "ReceivedAt": "2026-09-01T10:00:00Z"
}  # fmt: skip
_DEAL_WON = {
    "meta": {
        "version": "2.0", "id": "pd-1", "entity": "deal", "entity_id": "9", "action": "change",
        "timestamp": "2026-09-01T10:00:00.000Z",
    },
    "data": {"id": 9, "status": "won", "person_id": 7}, "previous": {"status": "open"},
}  # fmt: skip
_OPPORTUNITY = {"sobject": "Opportunity", "Id": "006x", "LastModifiedDate": "2026-09-01T10:00:00Z", "IsWon": True}

VENDORS = [
    Vendor("stripe", f"kind: stripe, secret: {{value: {WHSEC}}}", _stripe, _edit(b"500", b"900")),
    Vendor(
        "standard", f"kind: standard-webhooks, secret: {{value: {WHSEC}}}",
        lambda at: _standard(at, Webhook, "webhook"), _edit(b"9", b"1"),
    ),
    Vendor(
        "svix", f"kind: standard-webhooks, secret: {{value: {WHSEC}}}",
        lambda at: _standard(at, svix.Webhook, "svix"), _edit(b"9", b"1"),
    ),
    Vendor("sendgrid", f"kind: sendgrid, secret: {{value: {_MAIL_PUBLIC}}}", _sendgrid, _edit(b"ada@", b"eve@")),
    # What Mailgun signs is the time and the token alone.
    Vendor("mailgun", "kind: mailgun, secret: {value: signing-key}", _mailgun, _edit(b"single-use", b"second-use")),
    Vendor("hubspot", "kind: hubspot, secret: {value: client-secret}", _hubspot, _edit(b"7", b"8")),
    Vendor(
        "ses-1", f'kind: ses, topic_arns: ["{TOPIC}"]', lambda at: _ses(at, "1"), _edit(b"ada@", b"eve@"),
        timedelta(hours=1),
    ),
    Vendor(
        "ses-2", f'kind: ses, topic_arns: ["{TOPIC}"]', lambda at: _ses(at, "2"), _edit(b"ada@", b"eve@"),
        timedelta(hours=1),
    ),
    Vendor("postmark", f"kind: postmark, {_CREDENTIALS}", _basic(_OPEN), _without_credentials, None),
    Vendor("pipedrive", f"kind: pipedrive, {_CREDENTIALS}", _basic(_DEAL_WON), _without_credentials, None),
    Vendor(
        "salesforce", f"kind: salesforce, {_CREDENTIALS}", _basic(_OPPORTUNITY), _without_credentials,
        None,
    ),
]  # fmt: skip


def amazon() -> httpx.AsyncBaseTransport:
    """Amazon's host of certificates: one, and nothing else."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, _SNS_KEY.public_key(), 1, start, start + timedelta(days=3650))
    pem = builder.sign(_SNS_KEY, SHA256()).public_bytes(Encoding.PEM)
    return httpx.MockTransport(
        lambda request: httpx.Response(200, content=pem) if str(request.url) == CERTIFICATE_URL else httpx.Response(404)
    )
