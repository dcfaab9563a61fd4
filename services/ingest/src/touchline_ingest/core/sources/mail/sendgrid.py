"""SendGrid's Event Webhook, signed: ECDSA P-256 with SHA-256 over the timestamp and the raw body.

The secret is the verification key that SendGrid shows beside "Signed Event Webhook" (base64 of a DER public key).

SendGrid writes the company's custom arguments beside its own fields. What is none of its own goes under
``properties.custom_args``. An unsubscribe from a group refuses that group alone: its consent channel is what the
source's ``topics`` say of the group's number, else ``sendgrid-group-<number>``.
"""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from touchline_schemas.mail_events import Bounce

from touchline_ingest.core.sources.interface import ReadResult, Request, RequestRejection, SourceConfig, TouchpointDraft
from touchline_ingest.core.sources.mail.email_events import check_topics, email_draft, topic_channel
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
    as_identifier,
    as_text,
    child,
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
    "group_resubscribe": "subscribed",
}
# SendGrid writes custom arguments flat; some relays in front of it keep them together.
_CUSTOMER_ID = (("customer_id",), ("custom_args", "customer_id"), ("unique_args", "customer_id"))
_TAKEN_APART = frozenset({"event", "email", "timestamp", "sg_event_id", "customer_id", "useragent"})
# SendGrid's own fields, by its event reference; those that begin with sg_, mc_, marketing_campaign_ or singlesend_ too.
_OWN_FIELDS = frozenset(
    (
        "asm_group_id", "attempt", "bounce_classification", "category", "cert_err", "ip", "newsletter", "pool",
        "reason", "response", "send_at", "smtp-id", "status", "template_hash", "template_id", "template_version_id",
        "tls", "type", "url", "url_offset",
    )
)  # fmt: skip
_OWN_PREFIXES = ("sg_", "mc_", "marketing_campaign_", "singlesend_")


class SendGrid:
    """Reads SendGrid's batches of mail events."""

    kind = "sendgrid"

    def check(self, config: SourceConfig) -> Sequence[str]:
        """The secrets must be P-256 public keys."""
        problems = check_secret(config, "the verification key of SendGrid's signed event webhook")
        if any(secret and _public_key(secret) is None for secret in config.secrets):
            problems.append("secret: is no P-256 public key; copy the verification key that SendGrid shows")
        return [*problems, *check_tolerance(config), *check_topics(config)]

    def read(self, request: Request, config: SourceConfig, now: datetime) -> ReadResult:
        """Check the signature and its age, then read the events."""
        refusal = _refusal(request, config, now)
        if refusal:
            return refusal
        return understand_json(request.body, lambda event: _draft(event, config, request.body), lists=True)


def _public_key(text: str) -> EllipticCurvePublicKey | None:
    body = "".join(line for line in text.split("\n") if not line.startswith("-----"))
    der = from_base64("".join(body.split()))
    try:
        key = load_der_public_key(der or b"")
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1) else None


def _refusal(request: Request, config: SourceConfig, now: datetime) -> RequestRejection | None:
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
    signed = [timestamp.encode(errors="replace") + body for body in request.signed_bodies]
    if not any(_verifies(secret, signature, one) for secret in config.secrets for one in signed):
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


def _draft(event: dict[str, Any], config: SourceConfig, whole: bytes) -> TouchpointDraft:
    name = event.get("event")
    if not isinstance(name, str) or name not in _TYPES:
        raise UnreadableError(f"event is {name!r}, which is none of SendGrid's")
    rest = {key: value for key, value in event.items() if key not in _TAKEN_APART}
    properties = {key: value for key, value in rest.items() if _is_own(key)}
    own = {key: value for key, value in rest.items() if not _is_own(key)}
    nested = own.pop("custom_args", None)
    properties["custom_args"] = {**nested, **own} if isinstance(nested, dict) else own
    properties["user_agent"] = event.get("useragent")
    group = as_text(event.get("asm_group_id"))
    if name in ("group_unsubscribe", "group_resubscribe"):
        if group is not None:
            properties["channel"] = topic_channel(config, "sendgrid-group", group)
        elif name == "group_resubscribe":
            raise UnreadableError("group_resubscribe has no asm_group_id: it says nothing that could be lifted")
    return email_draft(
        event_type=_TYPES[name],
        event_id=fitting_id(event.get("sg_event_id")) or content_id("sendgrid", event, whole),
        recipient=event.get("email"),
        customer_id=next(filter(None, (as_identifier(child(event, *at)) for at in _CUSTOMER_ID)), None),
        occurred_at=required_time(from_unix(event.get("timestamp")), "timestamp"),
        properties=properties,
        user_agent=event.get("useragent"),
        machine=_word(event.get("sg_machine_open")) in ("true", "1") or event.get("sg_machine_open") is True,
        bounce=_bounce(name, event),
    )


def _is_own(field: str) -> bool:
    return field in _OWN_FIELDS or field.startswith(_OWN_PREFIXES)


def _bounce(name: str, event: dict[str, Any]) -> Bounce:
    """SendGrid suppresses an address after ``type: bounce`` alone; before it had types, ``event: bounce`` said so.

    Without a type, a classification that isn't the address's fault, or a status that passes, is not hard.
    """
    kind = _word(event.get("type"))
    if name == "blocked" or kind == "blocked":
        return "blocked"
    if kind is None:
        if _word(event.get("bounce_classification")) not in (None, "invalid address"):
            return "unknown"
        return "soft" if (_word(event.get("status")) or "").startswith("4") else "hard"
    return "hard" if kind == "bounce" else "unknown"


def _word(value: Any) -> str | None:
    text = as_text(value)
    return None if text is None else text.lower()
