"""Kinds: from a mail service's raw bytes to what the notifier makes of them.

Whose opt-out, and from what; coming back; which bounces are hard; a sender's own fields beside ours; whom a machine's
verdict concerns; placeholders that name nobody.
"""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from touchline_ingest.core.sources.interface import Request, RequestRejection, SourceConfig, Understood
from touchline_ingest.core.sources.mail import ses
from touchline_ingest.core.sources.mail.mailgun import Mailgun
from touchline_ingest.core.sources.mail.postmark import Postmark
from touchline_ingest.core.sources.mail.sendgrid import SendGrid
from touchline_notifier.core.profiles.profile import Profile, Suppression, suppression_of
from touchline_schemas.touchpoint import PostedTouchpoint, Touchpoint

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
AT = int(NOW.timestamp())
KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = base64.b64encode(KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def touchpoints(reading: Any) -> list[Touchpoint]:
    assert isinstance(reading, Understood), reading
    assert not reading.unreadable, reading.unreadable
    return [
        PostedTouchpoint.model_validate(draft).accepted(id=draft["id"], source="mailer", received_at=NOW)
        for draft in reading.touchpoints
    ]


def sendgrid(*events: dict[str, Any], **options: Any) -> Any:
    body = json.dumps([{"email": "ada@example.org", "timestamp": AT, "sg_event_id": "e"} | one for one in events])
    signature = base64.b64encode(KEY.sign(str(AT).encode() + body.encode(), ec.ECDSA(SHA256()))).decode()
    headers = {
        "x-twilio-email-event-webhook-signature": signature,
        "x-twilio-email-event-webhook-timestamp": str(AT),
    }
    config = SourceConfig("mailer", "sendgrid", (PUBLIC,), options)
    assert SendGrid().check(config) == []
    return SendGrid().read(Request("POST", "https://x/", headers, body.encode()), config, NOW)


def mailgun(event: dict[str, Any], *, timestamp: Any = str(AT), token: str = "t" * 50, **options: Any) -> Any:
    signature = hmac.new(b"key", f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()
    signed = {"timestamp": timestamp, "token": token, "signature": signature}
    data = {"id": "e", "timestamp": AT, "recipient": "ada@example.org"} | event
    body = json.dumps({"signature": signed, "event-data": data}).encode()
    config = SourceConfig("mailer", "mailgun", ("key",), options)
    return Mailgun().read(Request("POST", "https://x/", {}, body), config, NOW)


def postmark(record: dict[str, Any], **options: Any) -> Any:
    times = dict.fromkeys(("DeliveredAt", "BouncedAt", "ReceivedAt", "ChangedAt"), "2026-03-01T11:00:00.1234567Z")
    body = json.dumps({"MessageID": "m", "Recipient": "ada@example.org"} | times | record).encode()
    headers = {"authorization": "Basic " + base64.b64encode(b"u:p").decode()}
    config = SourceConfig("mailer", "postmark", ("u:p",), options)
    return Postmark().read(Request("POST", "https://x/", headers, body), config, NOW)


def amazon(event: dict[str, Any], **options: Any) -> Any:
    mail = {"timestamp": "2026-03-01T11:00:00.000Z", "messageId": "m", "destination": ["ada@example.org"]}
    config = SourceConfig("mailer", "ses", (), options)
    return Understood(ses._drafts({"mail": mail} | event, "sns-1", config))


def message(reading: Any) -> list[Suppression | None]:
    return [suppression_of(one) for one in touchpoints(reading)]


def preferences(everything: bool, **topics: str) -> dict[str, Any]:
    listed = [{"topicName": name, "subscriptionStatus": status} for name, status in topics.items()]
    return {"unsubscribeAll": everything, "topicSubscriptionStatus": listed}


def subscription(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    return {
        "eventType": "Subscription",
        "subscription": {"contactList": "news", "oldTopicPreferences": old, "newTopicPreferences": new},
    }


LEAVING = [
    (sendgrid, {"event": "unsubscribe"}, "unsubscribed"),
    (sendgrid, {"event": "group_unsubscribe"}, "unsubscribed"),
    (sendgrid, {"event": "spamreport"}, "email_complained"),
    (mailgun, {"event": "unsubscribed"}, "unsubscribed"),
    (mailgun, {"event": "complained"}, "email_complained"),
    (postmark, {"RecordType": "SpamComplaint"}, "email_complained"),
    (postmark, {"RecordType": "Bounce", "Type": "SpamComplaint", "Inactive": True}, "email_complained"),
    (postmark, {"RecordType": "SubscriptionChange", "SuppressSending": True}, "unsubscribed"),
    (postmark, {"RecordType": "SubscriptionChange", "SuppressSending": True, "SuppressionReason": "ManualSuppression"},
     "unsubscribed"),
    (postmark, {"RecordType": "SubscriptionChange", "SuppressSending": True, "SuppressionReason": "HardBounce"},
     "email_suppressed"),
    (postmark, {"RecordType": "SubscriptionChange", "SuppressSending": True, "SuppressionReason": "SpamComplaint"},
     "email_suppressed"),
    (amazon, subscription(preferences(False), preferences(True, news="OptOut")), "unsubscribed"),
    (amazon, {"eventType": "Complaint", "complaint": {}}, "email_complained"),
    (amazon, {"eventType": "Complaint", "complaint": {"complaintFeedbackType": "abuse"}}, "email_complained"),
    (amazon, {"eventType": "Complaint", "complaint": {"complaintFeedbackType": "other"}}, "email_complained"),
    (amazon, {"eventType": "Complaint", "complaint": {"complaintFeedbackType": ["not-spam"]}}, "email_complained"),
    (amazon, {"eventType": "Complaint", "complaint": {"complaintFeedbackType": {}}}, "email_complained"),
]  # fmt: skip


@pytest.mark.parametrize(("service", "event", "reason"), LEAVING)
def test_an_opt_out_or_a_complaint_suppresses_the_address(service: Any, event: dict[str, Any], reason: str) -> None:
    (suppression,) = message(service(event))
    assert suppression is not None
    assert (suppression.address, suppression.reason, suppression.lifted) == ("ada@example.org", reason, False)


NOT_THE_ADDRESS: list[tuple[Any, dict[str, Any]]] = [
    (sendgrid, {"event": "bounce", "bounce_classification": "Technical", "status": "4.0.0"}),
    (sendgrid, {"event": "bounce", "bounce_classification": "Content", "status": "5.7.1"}),
    (sendgrid, {"event": "bounce", "bounce_classification": "Reputation"}),
    (sendgrid, {"event": "bounce", "status": "4.2.2", "reason": "mailbox full"}),
    (amazon, {"eventType": "Bounce", "bounce": {"bounceType": "Permanent", "bounceSubType": "UnsubscribedRecipient"}}),
]


@pytest.mark.parametrize(("service", "event"), NOT_THE_ADDRESS)
def test_a_bounce_that_is_not_the_address_s_fault_suppresses_nothing(service: Any, event: dict[str, Any]) -> None:
    assert message(service(event)) == [None]


@pytest.mark.parametrize(
    "event",
    [
        {"event": "bounce", "bounce_classification": "Invalid Address", "status": "5.1.1"},
        {"event": "bounce", "type": "Bounce", "bounce_classification": "Mailbox Unavailable", "status": "5.2.2"},
        {"event": "bounce", "status": "5.1.1"},
    ],
)
def test_a_bounce_after_which_sendgrid_sends_nothing_more_is_hard(event: dict[str, Any]) -> None:
    (suppression,) = message(sendgrid(event))
    assert suppression is not None


@pytest.mark.parametrize("verdict", [True, 1, "true", "True", "TRUE", "1"])
def test_sendgrids_own_verdict_counts_in_any_spelling(verdict: Any) -> None:
    (opened,) = touchpoints(sendgrid({"event": "open", "sg_machine_open": verdict}))
    assert opened.machine


COMING_BACK: list[tuple[Any, dict[str, Any]]] = [
    (postmark, {"RecordType": "SubscriptionChange", "SuppressSending": False, "SuppressionReason": None,
                "MessageID": None, "Tag": None, "Metadata": {}, "Origin": "Customer"}),
    (amazon, subscription(preferences(True), preferences(False))),
]  # fmt: skip


@pytest.mark.parametrize(("service", "event"), COMING_BACK)
def test_coming_back_lifts_the_suppression_and_gives_consent(service: Any, event: dict[str, Any]) -> None:
    (suppression,) = message(service(event))
    assert suppression is not None
    assert suppression.lifted
    profile = Profile()
    for touchpoint in touchpoints(service(event)):
        profile.take(touchpoint)
    assert profile.consent("email") is True
    assert profile.email is None


TOPICS = [
    (sendgrid, {"event": "group_unsubscribe", "asm_group_id": 4711}, "sendgrid-group-4711", False),
    (sendgrid, {"event": "group_resubscribe", "asm_group_id": 4711}, "sendgrid-group-4711", True),
    (mailgun, {"event": "unsubscribed", "mailing-list": {"address": "News@example.org", "list-id": "n"}},
     "mailgun-list-news-example.org", False),
    (amazon, subscription(preferences(False, all="OptIn"), preferences(False, all="OptOut")), "ses-topic-all", False),
    (amazon, subscription(preferences(False, all="OptOut"), preferences(False, all="OptIn")), "ses-topic-all", True),
]  # fmt: skip


@pytest.mark.parametrize(("service", "event", "channel", "given_again"), TOPICS)
def test_an_opt_out_from_a_topic_is_from_that_topic_alone(
    service: Any, event: dict[str, Any], channel: str, given_again: bool
) -> None:
    assert message(service(event)) == [None]
    profile = Profile()
    for touchpoint in touchpoints(service(event)):
        profile.take(touchpoint)
    assert profile.consent(channel) is given_again
    assert profile.consent("email") is None


@pytest.mark.parametrize(
    ("service", "event", "name"),
    [
        (sendgrid, {"event": "group_unsubscribe", "asm_group_id": 4711}, 4711),
        (mailgun, {"event": "unsubscribed", "mailing-list": {"address": "n@example.org"}}, "n@example.org"),
        (amazon, subscription(preferences(False), preferences(False, News="OptOut")), "News"),
        (
            postmark,
            {"RecordType": "SubscriptionChange", "SuppressSending": True, "MessageStream": "broadcast"},
            "broadcast",
        ),
    ],
)
def test_a_company_says_which_consent_channel_a_topic_is(service: Any, event: dict[str, Any], name: Any) -> None:
    (touchpoint,) = touchpoints(service(event, topics={name: "product-news"}))
    assert touchpoint.properties["channel"] == "product-news"
    (everything,) = message(service(event, topics={name: "all"}))
    assert everything is not None


def test_topics_that_are_no_mapping_to_channels_are_reported() -> None:
    for topics in (["x"], {"x": ""}, {"x": "Has Spaces"}, {"x": 7}):
        assert SendGrid().check(SourceConfig("m", "sendgrid", (PUBLIC,), {"topics": topics}))


def test_a_change_of_a_suppression_that_does_not_say_which_lifts_nothing() -> None:
    for stated in ({}, {"SuppressSending": None}, {"SuppressSending": "false"}):
        assert len(postmark({"RecordType": "SubscriptionChange"} | stated).unreadable) == 1
    (kept,) = touchpoints(amazon(subscription(preferences(False), preferences(False))))
    assert kept.type == "subscription_changed"
    assert suppression_of(kept) is None


NOT_HARD = [
    *(
        (postmark, {"RecordType": "Bounce", "Email": "ada@example.org", "Inactive": False, "Type": kind})
        for kind in (
            "Blocked", "SMTPApiError", "TemplateRenderingFailed", "ChallengeVerification", "AddressChange", "Unknown",
            "HardBounce", "Transient", "DnsError", "SpamNotification", "DMARCPolicy", "AutoResponder", "InboundError",
            "SoftBounce", "VirusNotification", "OpenRelayTest", "Subscribe", "Unconfirmed", "ANewOne",
        )
    ),
    (postmark, {"RecordType": "Bounce", "Type": "ANewOne"}),
    (postmark, {"RecordType": "Bounce"}),
    (amazon, {"eventType": "Bounce", "bounce": {"bounceType": "Undetermined", "bounceSubType": "Undetermined"}}),
    (amazon, {"eventType": "Bounce", "bounce": {"bounceType": "Transient", "bounceSubType": "MailboxFull"}}),
    (amazon, {"eventType": "Bounce", "bounce": {}}),
    (amazon, {"notificationType": "Bounce", "bounce": {"bounceType": "ANewOne"}}),
    (sendgrid, {"event": "bounce", "type": "blocked"}),
    (sendgrid, {"event": "bounce", "type": "expired"}),
    (sendgrid, {"event": "blocked"}),
    (mailgun, {"event": "failed"}),
    (mailgun, {"event": "failed", "severity": "unheard-of"}),
    (mailgun, {"event": "failed", "severity": "permanent", "delivery-status": {"bounce-type": "soft"}}),
    (mailgun, {"event": "failed", "severity": "permanent", "reason": "old"}),
    (mailgun, {"event": "failed", "severity": "permanent", "reason": "espblock"}),
    (mailgun, {"event": "failed", "severity": "permanent", "reason": "suppress-unsubscribe"}),
    *(
        (mailgun, {"event": "failed", "severity": "permanent", "reason": reason})
        for reason in (None, "", "generic", "greylisted", "homoglyph", "a-new-one", ["bounce"])
    ),
    (mailgun, {"event": "failed", "severity": "permanent", "reason": "bounce",
               "delivery-status": {"bounce-type": "x"}}),
    *(
        (amazon, {"eventType": "Complaint", "complaint": {"complaintFeedbackType": kind}})
        for kind in ("Not-Spam", "NOT-SPAM", " auth-failure ")
    ),
    (amazon, {"eventType": "Complaint", "complaint": {"complaintFeedbackType": "not-spam"}}),
    (amazon, {"eventType": "Complaint", "complaint": {"complaintFeedbackType": "auth-failure"}}),
]  # fmt: skip


@pytest.mark.parametrize(("service", "event"), NOT_HARD)
def test_what_a_vendor_does_not_call_hard_suppresses_nothing(service: Any, event: dict[str, Any]) -> None:
    assert message(service(event)) == [None]


@pytest.mark.parametrize(
    ("service", "event"),
    [
        (postmark, {"RecordType": "Bounce", "Type": "HardBounce", "Inactive": True}),
        (postmark, {"RecordType": "Bounce", "Type": "SpamNotification", "Inactive": True}),
        (postmark, {"RecordType": "Bounce", "Type": "BadEmailAddress"}),
        (amazon, {"eventType": "Bounce", "bounce": {"bounceType": "Permanent", "bounceSubType": "NoEmail"}}),
        (sendgrid, {"event": "bounce", "type": "bounce", "status": "5.1.1"}),
        (sendgrid, {"event": "bounce"}),
        (mailgun, {"event": "failed", "severity": "permanent", "reason": "bounce"}),
        (mailgun, {"event": "failed", "severity": "permanent", "delivery-status": {"bounce-type": "hard"}}),
    ],
)
def test_what_a_vendor_calls_hard_suppresses(service: Any, event: dict[str, Any]) -> None:
    (suppression,) = message(service(event))
    assert suppression is not None
    assert suppression.reason == "email_bounced"


OURS = [
    "channel",
    "consent",
    "bounce",
    "traits",
    "context",
    "timezone",
    "time_zone",
    "locale",
    "lifecycle",
    "user_agent",
]
OWN = st.dictionaries(
    st.sampled_from(OURS),
    st.sampled_from(["newsletter", "soft", "all", True, {"email": True}, {"email": "eve@example.org"}, "Asia/Tokyo"]),
    min_size=1,
)


@given(OWN)
def test_what_a_company_attaches_to_a_mail_is_never_read_as_a_word_of_ours(own: dict[str, Any]) -> None:
    tags = {name: [str(value)] for name, value in own.items()}
    mail = {"timestamp": "2026-03-01T11:00:00Z", "destination": ["ada@example.org"], "tags": tags}
    for reading in (
        sendgrid(own | {"event": "unsubscribe"}),
        mailgun({"event": "unsubscribed", "user-variables": own, "tags": list(own)}),
        postmark({"RecordType": "SubscriptionChange", "SuppressSending": True, "Metadata": own, "Tag": "channel"}),
        amazon({"mail": mail} | subscription(preferences(False), preferences(True))),
    ):
        (touchpoint,) = touchpoints(reading)
        suppression = suppression_of(touchpoint)
        assert suppression is not None
        assert not suppression.lifted
        profile = Profile()
        profile.take(touchpoint)
        assert profile.consent("email") is False
        assert profile.values.keys() == {"consent.email"}
        assert set(OURS).isdisjoint(touchpoint.properties)
    (bounced,) = touchpoints(sendgrid(own | {"event": "bounce", "type": "bounce"}))
    assert suppression_of(bounced) is not None


MACHINES = ["Go-http-client/1.1", "python-requests/2.31", "Googlebot/2.1", "Barracuda Sentinel (EE)", "Mozilla/5.0"]


@pytest.mark.parametrize("agent", MACHINES)
def test_a_machines_verdict_is_for_opens_and_clicks_and_not_for_opt_outs_and_complaints(agent: str) -> None:
    client = {"client-info": {"user-agent": agent, "bot": "generic"}}
    for reading, machine in (
        (sendgrid({"event": "open", "useragent": agent}), True),
        (sendgrid({"event": "click", "useragent": agent}), True),
        (sendgrid({"event": "unsubscribe", "useragent": agent, "sg_machine_open": True}), False),
        (sendgrid({"event": "group_unsubscribe", "useragent": agent, "asm_group_id": 1}), False),
        (sendgrid({"event": "spamreport", "useragent": agent}), False),
        (mailgun({"event": "opened"} | client), True),
        (mailgun({"event": "unsubscribed"} | client), False),
        (mailgun({"event": "complained"} | client), False),
        (postmark({"RecordType": "Click", "UserAgent": agent}), True),
        (postmark({"RecordType": "SubscriptionChange", "SuppressSending": True, "UserAgent": agent}), False),
        (amazon({"eventType": "Open", "open": {"userAgent": agent}}), True),
        (amazon({"eventType": "Complaint", "complaint": {"userAgent": agent}}), False),
    ):
        assert [one.machine for one in touchpoints(reading)] == [machine]


@pytest.mark.parametrize("nobody", ["undefined", "null", "[object Object]", "0", 0, "{{ id }}", "", None, True])
def test_a_placeholder_that_was_attached_to_a_mail_names_nobody(nobody: Any) -> None:
    tags = {"customer_id": [nobody]}
    for reading in (
        sendgrid({"event": "open", "customer_id": nobody}),
        mailgun({"event": "opened", "user-variables": {"customer_id": nobody}}),
        postmark({"RecordType": "Open", "Metadata": {"customer_id": nobody}}),
        amazon({"eventType": "Open", "mail": {"timestamp": "2026-03-01T11:00:00Z", "destination": ["ada@example.org"],
                                              "tags": tags}}),
    ):  # fmt: skip
        (touchpoint,) = touchpoints(reading)
        assert touchpoint.customer_id is None
        assert touchpoint.keys == ["email:ada@example.org"]


@pytest.mark.parametrize(
    "spelling",
    [f"{AT}e0", f"{AT}.0", f"+{AT}", f"0{AT}", f" {AT}", f"{str(AT)[:4]}_{str(AT)[4:]}", "".join(
        chr(0x0660 + int(digit)) for digit in str(AT)), f"{AT}0"[:11], str(AT)[:9]],
)  # fmt: skip
def test_a_timestamp_of_mailgun_has_one_spelling_so_that_a_signature_is_good_for_one_token(spelling: str) -> None:
    refused = mailgun({"event": "opened"}, timestamp=spelling)
    assert isinstance(refused, RequestRejection)
    assert refused.status == 401


@given(st.text(alphabet="0123456789abcdef", min_size=1, max_size=50), st.integers(1, 12))
def test_no_beginning_of_a_token_can_be_moved_into_the_timestamp(token: str, moved: int) -> None:
    whole = f"{AT}{token}"
    accepted = [
        cut
        for cut in range(10 - min(moved, 9), 10 + moved + 1)
        if isinstance(mailgun({"event": "opened"}, timestamp=whole[:cut], token=whole[cut:] or "x"), Understood)
    ]
    assert accepted == [10]


@pytest.mark.parametrize("placeholder", ["undefined", "", 0, None])
def test_a_placeholder_does_not_hide_the_customer_named_beside_it(placeholder: Any) -> None:
    event = {"event": "open", "customer_id": placeholder, "custom_args": {"customer_id": "c-9"}}
    assert [one.customer_id for one in touchpoints(sendgrid(event))] == ["c-9"]
