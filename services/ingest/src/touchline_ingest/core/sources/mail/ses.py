"""Amazon SES: mail events published to an SNS topic that this URL subscribes to.

``topic_arns`` lists the topics that are ours; without it, anyone with an Amazon account could subscribe this URL to a
topic of theirs, correctly signed. Basic credentials (``secret: user:password``) are optional on top.

A contact list's topic that somebody leaves or joins is a consent channel: what the source's ``topics`` say of its name,
else ``ses-topic-<name>``.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from touchline_schemas.mail_events import SUBSCRIBED, UNSUBSCRIBED, Bounce

from touchline_ingest.core.sources.interface import (
    NeedsCertificate,
    ReadResult,
    Reply,
    Request,
    RequestRejection,
    SourceConfig,
    TouchpointDraft,
    Understood,
)
from touchline_ingest.core.sources.mail import sns
from touchline_ingest.core.sources.mail.email_events import check_topics, email_draft, topic_channel
from touchline_ingest.core.sources.mail.postmark import check_credentials
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
    "Subscription": ("subscription_changed", "subscription", None),
}
# What isn't said to be permanent isn't hard: "Undetermined" is a bounce that SES couldn't read.
_BOUNCES: dict[str, Bounce] = {"Permanent": "hard", "Transient": "soft"}
# SES sent nothing because the recipient had left the contact list: the address accepts mail.
_NO_FAULT = frozenset({"UnsubscribedRecipient"})
# Reports that complain of nothing the recipient wanted to stop (RFC 5965 §7.3).
_NO_COMPLAINT = frozenset({"not-spam", "auth-failure"})


class Ses:
    """Reads SES's events out of SNS messages, and confirms the subscription."""

    kind = "ses"

    def check(self, config: SourceConfig) -> Sequence[str]:
        """``topic_arns`` is needed; credentials, if any, must be ``user:password``."""
        problems = check_tolerance(config) + check_topics(config)
        problems += check_credentials(config) if config.secrets else []
        topics = config.options.get("topic_arns")
        if not (isinstance(topics, list | tuple) and topics and all(isinstance(topic, str) for topic in topics)):
            problems.append(
                "topic_arns: list the SNS topics that may post here, such as [arn:aws:sns:eu-west-1:123:mail]"
            )
        return problems

    def read(self, request: Request, config: SourceConfig, now: datetime) -> ReadResult:
        """Check credentials, topic, signature and age; then read the event, or confirm the subscription."""
        if config.secrets:
            # SNS sends its credentials only after a 401 that asks for them.
            refusal = wrong_credentials(request.headers, config, "write them into the subscription's URL in SNS")
            if refusal:
                return refusal
        try:
            message = as_object(parse_json(request.body), "the body")
        except UnreadableError as reason:
            return RequestRejection(
                400, "body not readable", f"The body {reason}; without it there is no signature to check."
            )
        certificate_url = message.get("SigningCertURL")
        if not isinstance(certificate_url, str) or not sns.is_certificate_url(certificate_url):
            return not_genuine("SigningCertURL is no https URL of sns.<region>.amazonaws.com.")
        if message.get("TopicArn") not in (config.options.get("topic_arns") or ()):
            return RequestRejection(
                403, "topic not allowed", "TopicArn is not one of this source's topic_arns: add it there."
            )
        if certificate_url not in request.certificates:
            return NeedsCertificate(certificate_url)
        if not sns.is_signed(message, request.certificates[certificate_url]):
            return not_genuine("The message is not signed by the certificate it names.")
        refusal = wrong_age(from_rfc3339(message.get("Timestamp")), now, tolerance_of(config, _TOLERANCE))
        return refusal or _read_message(message, request.body, config)


def _read_message(message: dict[str, Any], body: bytes, config: SourceConfig) -> ReadResult:
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
    return understand([event], lambda one: _drafts(one, message_id, config), whole=body, reply=_REPLY)


def _drafts(event: dict[str, Any], message_id: str, config: SourceConfig) -> list[TouchpointDraft]:
    """One draft for each recipient that the event concerns; of a subscription, one for each change."""
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
    said: list[tuple[str, str | None]] = [(event_type, None)]
    if name == "Subscription":
        said = _subscription(part, config) or said
    elif name == "Complaint" and (as_text(child(part, "complaintFeedbackType")) or "").lower() in _NO_COMPLAINT:
        said = [("email_not_spam", None)]
    moment = from_rfc3339(child(part, "timestamp")) or from_rfc3339(child(mail, "timestamp"))
    user_agent = child(part, "userAgent")
    tag = child(mail, "tags", "customer_id")
    properties = {
        "message_id": child(mail, "messageId"),
        "subject": child(mail, "commonHeaders", "subject"),
        "tags": child(mail, "tags"),
        "url": child(part, "link"),
        "bounce_type": child(part, "bounceSubType"),
        "complaint": child(part, "complaintFeedbackType"),
        "reason": child(part, "reason"),
        "user_agent": user_agent,
    }
    single = len(recipients) * len(said) == 1
    return [
        email_draft(
            event_type=type_said,
            event_id=message_id if single else derived_id("ses", message_id, index * len(said) + number),
            recipient=child(recipient, "emailAddress") if isinstance(recipient, dict) else recipient,
            customer_id=tag[0] if isinstance(tag, list) and len(tag) == 1 else None,
            occurred_at=required_time(moment, "timestamp"),
            properties={**properties, "channel": channel},
            user_agent=user_agent,
            bounce=_bounce(part),
        )
        for index, recipient in enumerate(recipients)
        for number, (type_said, channel) in enumerate(said)
    ]


def _bounce(part: Any) -> Bounce:
    if child(part, "bounceSubType") in _NO_FAULT:
        return "blocked"
    return _BOUNCES.get(str(child(part, "bounceType")), "unknown")


def _subscription(part: Any, config: SourceConfig) -> list[tuple[str, str | None]]:
    """What changed in a contact's preferences: (type, consent channel; None: all mail)."""
    new, old = child(part, "newTopicPreferences"), child(part, "oldTopicPreferences")
    if child(new, "unsubscribeAll") is True:
        return [(UNSUBSCRIBED, None)]
    said: list[tuple[str, str | None]] = []
    if child(new, "unsubscribeAll") is False and child(old, "unsubscribeAll") is True:
        said.append((SUBSCRIBED, None))
    before, after = _topics(old), _topics(new)
    for topic, status in after.items():
        if status != before.get(topic):
            said.append((SUBSCRIBED if status == "OptIn" else UNSUBSCRIBED, topic_channel(config, "ses-topic", topic)))
    return said


def _topics(preferences: Any) -> dict[str, str]:
    listed = child(preferences, "topicSubscriptionStatus")
    named = (
        (as_text(child(one, "topicName")), child(one, "subscriptionStatus"))
        for one in (listed if isinstance(listed, list) else ())
    )
    return {topic: status for topic, status in named if topic and status in ("OptIn", "OptOut")}
