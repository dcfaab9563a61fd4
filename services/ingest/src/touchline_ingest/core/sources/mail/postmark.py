"""Postmark's webhooks. Postmark signs nothing: the URL carries Basic credentials (``https://user:password@host/…``).

The secret is ``user:password``, as in that URL.

Postmark says itself whether it stopped sending to an address after a bounce (``Inactive``): only then the bounce is
hard. Its suppressions are those of a message stream; a stream that is listed in the source's ``topics`` is one consent
channel, any other stands for all mail.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from touchline_schemas.mail_events import CONSENT_GIVEN, EMAIL_SUPPRESSED, SUBSCRIBED, UNSUBSCRIBED, Bounce

from touchline_ingest.core.sources.interface import ReadResult, Reply, Request, SourceConfig, TouchpointDraft
from touchline_ingest.core.sources.mail.email_events import check_topics, email_draft, topic_channel
from touchline_ingest.core.sources.proofs import check_secret, wrong_credentials
from touchline_ingest.core.sources.values import (
    UnreadableError,
    as_text,
    child,
    derived_id,
    from_rfc3339,
    required_time,
    understand_json,
)

# Record type: (touchpoint type, the field that says when).
_TYPES = {
    "Delivery": ("email_delivered", "DeliveredAt"),
    "Bounce": ("email_bounced", "BouncedAt"),
    "SpamComplaint": ("email_complained", "BouncedAt"),
    "Open": ("email_opened", "ReceivedAt"),
    "Click": ("email_clicked", "ReceivedAt"),
    "SubscriptionChange": ("subscription_changed", "ChangedAt"),
}
# Bounce types that are no bounces of the mail itself.
_BOUNCE_TYPES = {"SpamComplaint": "email_complained", "Unsubscribe": "unsubscribed"}
# For a bounce that doesn't say whether it made the address inactive.
_BOUNCES: dict[str, Bounce] = {
    "HardBounce": "hard",
    "BadEmailAddress": "hard",
    "ManuallyDeactivated": "hard",
    "Transient": "soft",
    "SoftBounce": "soft",
    "DnsError": "soft",
    "AutoResponder": "soft",
    "Undeliverable": "soft",
    "Blocked": "blocked",
    "SpamNotification": "blocked",
    "VirusNotification": "blocked",
    "DMARCPolicy": "blocked",
}
_REPLY = Reply(200)


class Postmark:
    """Reads Postmark's webhooks, one record a request."""

    kind = "postmark"

    def check(self, config: SourceConfig) -> Sequence[str]:
        """The secrets must be ``user:password``."""
        return [*check_credentials(config), *check_topics(config)]

    def read(self, request: Request, config: SourceConfig, now: datetime) -> ReadResult:
        """Check the credentials, then read the record."""
        refusal = wrong_credentials(
            request.headers, config, "write them into the webhook's URL in Postmark, https://user:password@host/…"
        )
        if refusal:
            return refusal
        return understand_json(request.body, lambda record: _draft(record, config), reply=_REPLY)


def check_credentials(config: SourceConfig) -> list[str]:
    """What is wrong with secrets that must be ``user:password``."""
    problems = check_secret(config, "user:password, as in the webhook's URL")
    if any(secret and ":" not in secret for secret in config.secrets):
        problems.append("secret: has no colon; write user:password, as in the webhook's URL")
    elif any(not secret.partition(":")[2].strip() for secret in config.secrets if secret):
        problems.append("secret: has no password after the colon; write user:password, as in the webhook's URL")
    return problems


def _draft(record: dict[str, Any], config: SourceConfig) -> TouchpointDraft:
    name = record.get("RecordType")
    if not isinstance(name, str) or name not in _TYPES:
        raise UnreadableError(f"RecordType is {name!r}, which makes no touchpoint")
    event_type, time_field = _TYPES[name]
    channel = None
    if name == "SubscriptionChange":
        event_type = _subscription(record)
        stream = as_text(record.get("MessageStream")) or ""
        if event_type in CONSENT_GIVEN and stream in (config.options.get("topics") or ()):
            channel = topic_channel(config, "postmark-stream", stream)
    elif name == "Bounce":
        event_type = _BOUNCE_TYPES.get(str(record.get("Type")), event_type)
    recipient = record.get("Recipient") or record.get("Email")
    when = record.get(time_field)
    return email_draft(
        event_type=event_type,
        event_id=derived_id("postmark", name, record.get("MessageID"), recipient, when, record.get("OriginalLink")),
        recipient=recipient,
        customer_id=child(record, "Metadata", "customer_id"),
        occurred_at=required_time(from_rfc3339(when), time_field),
        properties={
            "channel": channel,
            "message_id": record.get("MessageID"),
            "message_stream": record.get("MessageStream"),
            "tag": record.get("Tag"),
            "url": record.get("OriginalLink"),
            "subject": record.get("Subject"),
            "metadata": record.get("Metadata"),
            "bounce_type": record.get("Type"),
            "inactive": record.get("Inactive"),
            "description": record.get("Description"),
            "suppression_reason": record.get("SuppressionReason"),
            "origin": record.get("Origin"),
            "first_open": record.get("FirstOpen"),
            "user_agent": record.get("UserAgent"),
        },
        user_agent=record.get("UserAgent"),
        bounce=_bounce(record),
    )


def _subscription(record: dict[str, Any]) -> str:
    """What a change of a suppression list means: only what is said, for a value that is missing lifts nothing."""
    suppressed = record.get("SuppressSending")
    if suppressed is False:
        return SUBSCRIBED
    if suppressed is not True:
        raise UnreadableError("SuppressSending is neither true nor false")
    # The address is the reason, not the customer's will: another address of theirs may be written to.
    return EMAIL_SUPPRESSED if record.get("SuppressionReason") in ("HardBounce", "SpamComplaint") else UNSUBSCRIBED


def _bounce(record: dict[str, Any]) -> Bounce:
    stated = _BOUNCES.get(str(record.get("Type")), "unknown")
    if record.get("Inactive") is True:
        return "hard"
    if record.get("Inactive") is False and stated == "hard":
        return "unknown"
    return stated
