"""SendGrid's Event Webhook, signed: ECDSA P-256 with SHA-256 over the timestamp and the raw body.

The secret is the verification key that SendGrid shows beside "Signed Event Webhook" (base64 of a DER public key).
"""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from touchline_ingest.core.sources.email_events import email_draft
from touchline_ingest.core.sources.interface import Reading, Refused, Request, SourceConfig, TouchpointDraft
from touchline_ingest.core.sources.proofs import (
    check_secret,
    check_tolerance,
    from_base64,
    not_genuine,
    tolerance_of,
    wrong_age,
)
from touchline_ingest.core.sources.values import (
    UnreadableError,
    as_text,
    content_id,
    fitting_id,
    from_unix,
    required_time,
    understand_json,
)

_SIGNATURE = "x-twilio-email-event-webhook-signature"
_TIMESTAMP = "x-twilio-email-event-webhook-timestamp"
_TYPES = {
    "processed": "email_sent",
    "deferred": "email_deferred",
    "dropped": "email_dropped",
    "delivered": "email_delivered",
    "bounce": "email_bounced",
    "blocked": "email_bounced",
    "open": "email_opened",
    "click": "email_clicked",
    "spamreport": "email_complained",
    "unsubscribe": "unsubscribed",
    "group_unsubscribe": "unsubscribed",
    "group_resubscribe": "resubscribed",
}
_TAKEN_APART = frozenset({"event", "email", "timestamp", "sg_event_id", "customer_id", "useragent"})


class SendGrid:
    """Reads SendGrid's batches of mail events."""

    kind = "sendgrid"

    def check(self, config: SourceConfig) -> Sequence[str]:
        """The secrets must be P-256 public keys."""
        problems = check_secret(config, "the verification key of SendGrid's signed event webhook")
        if any(secret and _public_key(secret) is None for secret in config.secrets):
            problems.append("secret: is no P-256 public key; copy the verification key that SendGrid shows")
        return [*problems, *check_tolerance(config)]

    def read(self, request: Request, config: SourceConfig, now: datetime) -> Reading:
        """Check the signature and its age, then read the events."""
        refusal = _refusal(request, config, now)
        if refusal:
            return refusal
        return understand_json(request.body, lambda event: _draft(event, request.body), lists=True)


def _public_key(text: str) -> EllipticCurvePublicKey | None:
    body = "".join(line for line in text.split("\n") if not line.startswith("-----"))
    der = from_base64("".join(body.split()))
    try:
        key = load_der_public_key(der or b"")
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1) else None


def _refusal(request: Request, config: SourceConfig, now: datetime) -> Refused | None:
    timestamp = request.headers.get(_TIMESTAMP, "")
    try:
        signature = base64.b64decode(request.headers.get(_SIGNATURE, ""), validate=True)
    except ValueError:
        signature = b""
    if not signature or not timestamp:
        return not_genuine(
            "The headers X-Twilio-Email-Event-Webhook-Signature and -Timestamp are needed: enable the signed event "
            "webhook in SendGrid."
        )
    signed = timestamp.encode(errors="replace") + request.body
    if not any(_verifies(secret, signature, signed) for secret in config.secrets):
        return not_genuine(
            "The signature doesn't match the body under this source's verification key: check that the key is this "
            "webhook's, and that nothing on the way rewrites the body."
        )
    return wrong_age(from_unix(timestamp), now, tolerance_of(config))


def _verifies(secret: str, signature: bytes, signed: bytes) -> bool:
    key = _public_key(secret)
    if key is None:
        return False
    try:
        key.verify(signature, signed, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _draft(event: dict[str, Any], whole: bytes) -> TouchpointDraft:
    name = event.get("event")
    if not isinstance(name, str) or name not in _TYPES:
        raise UnreadableError(f"event is {name!r}, which is none of SendGrid's")
    properties = {key: value for key, value in event.items() if key not in _TAKEN_APART}
    if name in ("bounce", "blocked"):
        blocked = name == "blocked" or event.get("type") == "blocked"
        properties["bounce"] = "blocked" if blocked else "hard"
    if event.get("useragent"):
        properties["user_agent"] = event["useragent"]
    return email_draft(
        event_type=_TYPES[name],
        event_id=fitting_id(event.get("sg_event_id")) or content_id("sendgrid", event, whole),
        recipient=event.get("email"),
        customer_id=as_text(event.get("customer_id")),
        occurred_at=required_time(from_unix(event.get("timestamp")), "timestamp"),
        properties=properties,
        user_agent=event.get("useragent"),
        machine=event.get("sg_machine_open") in (True, "true", "1", 1),
    )
