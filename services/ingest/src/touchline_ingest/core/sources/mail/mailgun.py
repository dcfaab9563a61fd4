"""Mailgun's webhooks: hex HMAC-SHA256 of timestamp and token under the webhook signing key.

The signature covers neither the event nor the URL, so anyone who sees one can send another event with it. Two things
keep that out: the timestamp's age, and each token's single use (``Understood.tokens``). It covers timestamp and token
as one text, so the timestamp must be ten digits: otherwise its end could be the token's beginning, and one signature
would be good for two tokens.

An unsubscribe from a mailing list refuses that list alone: its consent channel is what the source's ``topics`` say of
the list's address, else ``mailgun-list-<address>``.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from touchline_schemas.mail_events import Bounce

from touchline_ingest.core.sources.interface import (
    ReadResult,
    Reply,
    Request,
    RequestRejection,
    SourceConfig,
    TouchpointDraft,
    Understood,
)
from touchline_ingest.core.sources.mail.email_events import check_topics, email_draft, topic_channel
from touchline_ingest.core.sources.proofs import (
    any_matches,
    check_secret,
    check_tolerance,
    from_hex,
    hmac_sha256,
    not_genuine,
    tolerance_of,
    wrong_age,
)
from touchline_ingest.core.sources.values import (
    UnreadableError,
    as_object,
    as_text,
    child,
    content_id,
    fitting_id,
    from_unix,
    parse_json,
    required_time,
    understand,
)

_TIMESTAMP = re.compile("[0-9]{10}")
_TYPES = {
    "accepted": "email_sent",
    "stored": "email_sent",
    "delivered": "email_delivered",
    "opened": "email_opened",
    "clicked": "email_clicked",
    "unsubscribed": "unsubscribed",
    "complained": "email_complained",
    "rejected": "email_dropped",
}
# What a permanent failure's reason says, where no bounce-type does.
_BOUNCES: dict[str, Bounce] = {"bounce": "hard", "hardfail": "hard", "espblock": "blocked", "old": "soft"}
# Mailgun takes 200 alone for success; any other code but 406 is tried again.
_REPLY = Reply(200)


class Mailgun:
    """Reads Mailgun's webhooks, one event a request."""

    kind = "mailgun"

    def check(self, config: SourceConfig) -> Sequence[str]:
        """A signing key is needed."""
        return [
            *check_secret(config, "Mailgun's HTTP webhook signing key"),
            *check_tolerance(config),
            *check_topics(config),
        ]

    def read(self, request: Request, config: SourceConfig, now: datetime) -> ReadResult:
        """Check the signature inside the body and its age, then read the event."""
        try:
            body = as_object(parse_json(request.body), "the body")
        except UnreadableError as reason:
            return RequestRejection(
                400, "body not readable", f"The body {reason}; without it there is no signature to check."
            )
        timestamp, token, signature = (
            as_text(child(body, "signature", name)) for name in ("timestamp", "token", "signature")
        )
        if not (timestamp and token and signature):
            return not_genuine("The body needs signature.timestamp, signature.token and signature.signature.")
        if _TIMESTAMP.fullmatch(timestamp) is None:
            return not_genuine("signature.timestamp must be a Unix time in seconds: ten digits.")
        signed = (timestamp + token).encode(errors="replace")
        given = from_hex(signature)
        if not any_matches(
            (hmac_sha256(secret, signed) for secret in config.secrets if secret), [given] if given else []
        ):
            return not_genuine(
                "The signature doesn't match timestamp and token under this source's key: check that it is Mailgun's "
                "HTTP webhook signing key, which is not the API key."
            )
        refusal = wrong_age(from_unix(timestamp), now, tolerance_of(config))
        if refusal:
            return refusal
        read = understand(
            [body.get("event-data")],
            lambda event: _draft(as_object(event), config, request.body),
            whole=request.body,
            reply=_REPLY,
        )
        return Understood(read.touchpoints, read.unreadable, read.reply, tokens=(token,))


def _type_of(event: dict[str, Any]) -> str:
    name = event.get("event")
    if name == "failed":
        if event.get("severity") == "temporary":
            return "email_deferred"
        # Mailgun did not even try: the address is on one of its suppression lists.
        return "email_dropped" if str(event.get("reason", "")).startswith("suppress-") else "email_bounced"
    if not isinstance(name, str) or name not in _TYPES:
        raise UnreadableError(f"event is {name!r}, which is none of Mailgun's")
    return _TYPES[name]


def _bounce(event: dict[str, Any]) -> Bounce:
    if event.get("severity") != "permanent":
        return "unknown"
    stated = child(event, "delivery-status", "bounce-type")
    if stated is not None:
        return "hard" if stated == "hard" else "soft" if stated == "soft" else "unknown"
    # Permanent for this mail says nothing of the address, unless the receiving server rejected it.
    return _BOUNCES.get(str(event.get("reason")), "unknown")


def _draft(event: dict[str, Any], config: SourceConfig, whole: bytes) -> TouchpointDraft:
    event_type = _type_of(event)
    user_agent = child(event, "client-info", "user-agent")
    variables = event.get("user-variables")
    bot = child(event, "client-info", "bot")
    mailing_list = as_text(child(event, "mailing-list", "address"))
    listed = event_type == "unsubscribed" and mailing_list is not None
    return email_draft(
        event_type=event_type,
        event_id=fitting_id(event.get("id")) or content_id("mailgun", event, whole),
        recipient=event.get("recipient"),
        customer_id=child(variables, "customer_id"),
        occurred_at=required_time(from_unix(event.get("timestamp")), "timestamp"),
        properties={
            "channel": topic_channel(config, "mailgun-list", mailing_list) if listed and mailing_list else None,
            "url": event.get("url"),
            "subject": child(event, "message", "headers", "subject"),
            "message_id": child(event, "message", "headers", "message-id"),
            "tags": event.get("tags"),
            "campaigns": event.get("campaigns"),
            "mailing_list": mailing_list,
            "variables": variables,
            "reason": event.get("reason"),
            "delivery_status": event.get("delivery-status"),
            "user_agent": user_agent,
            "bot": bot,
        },
        user_agent=user_agent,
        machine=isinstance(bot, str) and bool(bot.strip()),
        bounce=_bounce(event),
    )
