"""Amazon SES: mail events published to an SNS topic that this URL subscribes to.

``topic_arns`` lists the topics that are ours; without it anybody with an Amazon account could subscribe us to theirs
and be correctly signed. Basic credentials (``secret: user:password``) are optional on top.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from touchline_ingest.core.sources import sns
from touchline_ingest.core.sources.email_events import email_draft
from touchline_ingest.core.sources.interface import (
    NeedsCertificate,
    Reading,
    Refused,
    Reply,
    Request,
    SourceConfig,
    TouchpointDraft,
    Understood,
)
from touchline_ingest.core.sources.postmark import check_credentials
from touchline_ingest.core.sources.proofs import (
    check_tolerance,
    not_genuine,
    tolerance_of,
    wrong_age,
    wrong_credentials,
)
from touchline_ingest.core.sources.values import (
    UnreadableError,
    as_object,
    as_text,
    child,
    derived_id,
    from_rfc3339,
    parse_json,
    required_time,
    understand,
    unreadable_whole,
)

# SNS keeps the time of publishing across its retries, which by default take up to an hour.
_TOLERANCE = timedelta(hours=1)
_REPLY = Reply(200)
# Event: (touchpoint type, its object in the message, the recipients in there: a list's field, each one's field).
_EVENTS: dict[str, tuple[str, str, str | None]] = {
    "Send": ("email_sent", "send", None),
    "Delivery": ("email_delivered", "delivery", "recipients"),
    "Open": ("email_opened", "open", None),
    "Click": ("email_clicked", "click", None),
    "Bounce": ("email_bounced", "bounce", "bouncedRecipients"),
    "Complaint": ("email_complained", "complaint", "complainedRecipients"),
    "DeliveryDelay": ("email_deferred", "deliveryDelay", "delayedRecipients"),
    "Reject": ("email_dropped", "reject", None),
    "Rendering Failure": ("email_dropped", "failure", None),
    "Subscription": ("unsubscribed", "subscription", None),
}


class Ses:
    """Reads SES's events out of SNS messages, and confirms the subscription."""

    kind = "ses"

    def check(self, config: SourceConfig) -> Sequence[str]:
        """``topic_arns`` is needed; credentials, if any, must be ``user:password``."""
        problems = check_tolerance(config) + (check_credentials(config) if config.secrets else [])
        topics = config.options.get("topic_arns")
        if not (isinstance(topics, list | tuple) and topics and all(isinstance(topic, str) for topic in topics)):
            problems.append(
                "topic_arns: list the SNS topics that may post here, such as [arn:aws:sns:eu-west-1:123:mail]"
            )
        return problems

    def read(self, request: Request, config: SourceConfig, now: datetime) -> Reading:
        """Check credentials, topic, signature and age; then read the event, or confirm the subscription."""
        if config.secrets:
            # SNS sends its credentials only after a 401 that asks for them.
            refusal = wrong_credentials(request.headers, config, "write them into the subscription's URL in SNS")
            if refusal:
                return refusal
        try:
            message = as_object(parse_json(request.body), "the body")
        except UnreadableError as reason:
            return Refused(400, "body not readable", f"The body {reason}; without it there is no signature to check.")
        certificate_url = message.get("SigningCertURL")
        if not isinstance(certificate_url, str) or not sns.is_certificate_url(certificate_url):
            return not_genuine("SigningCertURL is no https URL of sns.<region>.amazonaws.com.")
        if message.get("TopicArn") not in (config.options.get("topic_arns") or ()):
            return Refused(403, "topic not allowed", "TopicArn is not one of this source's topic_arns: add it there.")
        if certificate_url not in request.certificates:
            return NeedsCertificate(certificate_url)
        if not sns.is_signed(message, request.certificates[certificate_url]):
            return not_genuine("The message is not signed by the certificate it names.")
        refusal = wrong_age(from_rfc3339(message.get("Timestamp")), now, tolerance_of(config, _TOLERANCE))
        return refusal or _reading(message, request.body)


def _reading(message: dict[str, Any], body: bytes) -> Reading:
    if message["Type"] == sns.CONFIRMATION:
        url = message["SubscribeURL"]
        if not sns.is_subscribe_url(url):
            return not_genuine("SubscribeURL is no https URL of sns.<region>.amazonaws.com that confirms.")
        return Understood(reply=_REPLY, fetch_url=url)
    if message["Type"] == sns.UNSUBSCRIBED:
        # Nothing to do: following its URL would subscribe again.
        return Understood(reply=_REPLY)
    try:
        event = as_object(parse_json(message["Message"].encode(errors="replace")), "Message")
    except UnreadableError as reason:
        # SES's own "Successfully validated SNS topic" is such a text.
        return unreadable_whole(body, f"Message {reason}", reply=_REPLY)
    message_id = message["MessageId"]
    return understand([event], lambda one: _drafts(one, message_id), whole=body, reply=_REPLY)


def _drafts(event: dict[str, Any], message_id: str) -> list[TouchpointDraft]:
    """One draft for each recipient that the event concerns."""
    name = event.get("eventType") or event.get("notificationType")
    if not isinstance(name, str) or name not in _EVENTS:
        raise UnreadableError(f"eventType is {name!r}, which is none of SES's")
    event_type, part_name, recipients_field = _EVENTS[name]
    part = event.get(part_name) if isinstance(event.get(part_name), dict) else {}
    mail = event.get("mail")
    listed = child(part, recipients_field) if recipients_field else None
    recipients = listed if isinstance(listed, list) and listed else child(mail, "destination")
    if not isinstance(recipients, list) or not recipients:
        raise UnreadableError("names no recipient")
    if name == "Subscription" and child(part, "newTopicPreferences", "unsubscribeAll") is not True:
        event_type = "subscription_changed"
    moment = from_rfc3339(child(part, "timestamp")) or from_rfc3339(child(mail, "timestamp"))
    user_agent = child(part, "userAgent")
    tag = child(mail, "tags", "customer_id")
    properties = {
        "message_id": child(mail, "messageId"),
        "subject": child(mail, "commonHeaders", "subject"),
        "tags": child(mail, "tags"),
        "url": child(part, "link"),
        "bounce": {"Permanent": "hard", "Transient": "soft"}.get(str(child(part, "bounceType"))),
        "bounce_type": child(part, "bounceSubType"),
        "complaint": child(part, "complaintFeedbackType"),
        "reason": child(part, "reason"),
        "user_agent": user_agent,
    }
    return [
        email_draft(
            event_type=event_type,
            event_id=message_id if len(recipients) == 1 else derived_id("ses", message_id, index),
            recipient=child(recipient, "emailAddress") if isinstance(recipient, dict) else recipient,
            customer_id=as_text(tag[0]) if isinstance(tag, list) and len(tag) == 1 else None,
            occurred_at=required_time(moment, "timestamp"),
            properties=properties,
            user_agent=user_agent,
        )
        for index, recipient in enumerate(recipients)
    ]
