"""Postmark's webhooks. Postmark signs nothing: the URL carries Basic credentials (``https://user:password@host/…``).

The secret is ``user:password``, as in that URL.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from touchline_ingest.core.sources.email_events import email_draft
from touchline_ingest.core.sources.interface import Reading, Reply, Request, SourceConfig, TouchpointDraft
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
    "SubscriptionChange": ("unsubscribed", "ChangedAt"),
}
_SOFT = frozenset({"Transient", "SoftBounce", "DnsError", "Undeliverable", "AutoResponder", "DMARCPolicy"})
_REPLY = Reply(200)


class Postmark:
    """Reads Postmark's webhooks, one record a request."""

    kind = "postmark"

    def check(self, config: SourceConfig) -> Sequence[str]:
        """The secrets must be ``user:password``."""
        return check_credentials(config)

    def read(self, request: Request, config: SourceConfig, now: datetime) -> Reading:
        """Check the credentials, then read the record."""
        refusal = wrong_credentials(
            request.headers, config, "write them into the webhook's URL in Postmark, https://user:password@host/…"
        )
        if refusal:
            return refusal
        return understand_json(request.body, _draft, reply=_REPLY)


def check_credentials(config: SourceConfig) -> list[str]:
    """What is wrong with secrets that must be ``user:password``."""
    problems = check_secret(config, "user:password, as in the webhook's URL")
    if any(secret and ":" not in secret for secret in config.secrets):
        problems.append("secret: has no colon; write user:password, as in the webhook's URL")
    return problems


def _draft(record: dict[str, Any]) -> TouchpointDraft:
    name = record.get("RecordType")
    if not isinstance(name, str) or name not in _TYPES:
        raise UnreadableError(f"RecordType is {name!r}, which makes no touchpoint")
    event_type, time_field = _TYPES[name]
    bounce = None
    if name == "SubscriptionChange" and record.get("SuppressSending") is not True:
        event_type = "resubscribed"
    if name == "Bounce":
        bounce = "soft" if record.get("Type") in _SOFT else "hard"
    recipient = record.get("Recipient") or record.get("Email")
    when = record.get(time_field)
    return email_draft(
        event_type=event_type,
        event_id=derived_id("postmark", name, record.get("MessageID"), recipient, when, record.get("OriginalLink")),
        recipient=recipient,
        customer_id=as_text(child(record, "Metadata", "customer_id")),
        occurred_at=required_time(from_rfc3339(when), time_field),
        properties={
            "message_id": record.get("MessageID"),
            "message_stream": record.get("MessageStream"),
            "tag": record.get("Tag"),
            "url": record.get("OriginalLink"),
            "subject": record.get("Subject"),
            "metadata": record.get("Metadata"),
            "bounce": bounce,
            "bounce_type": record.get("Type"),
            "description": record.get("Description"),
            "suppression_reason": record.get("SuppressionReason"),
            "first_open": record.get("FirstOpen"),
            "user_agent": record.get("UserAgent"),
        },
        user_agent=record.get("UserAgent"),
    )
