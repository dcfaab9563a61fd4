import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from touchline_ingest.core.sources.interface import NeedsCertificate, RequestRejection, Understood
from touchline_ingest.core.sources.mail import sns
from touchline_ingest.core.sources.mail.ses import Ses

SOURCE = Ses()
TOPIC = "arn:aws:sns:eu-west-1:123456789012:mail"
CERTIFICATE_URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123abcd.pem"
SUBSCRIBE_URL = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=x&Token=abc"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _day(year):
    return datetime(year, 1, 1, tzinfo=UTC)


def certificate(key):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, _day(2026), _day(2027))
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


PEM = certificate(KEY)


def message(now, version="2", key=KEY, **fields):
    made = {
        "Type": "Notification",
        "MessageId": "sns-1",
        "TopicArn": TOPIC,
        "Timestamp": now.isoformat().replace("+00:00", ".000Z"),
        "SigningCertURL": CERTIFICATE_URL,
        "SignatureVersion": version,
        **fields,
    }
    # Written out, not taken from the code under test: the order and the newlines are Amazon's.
    if made["Type"] == "Notification":
        names = ["Message", "MessageId", *(["Subject"] if "Subject" in made else []), "Timestamp", "TopicArn", "Type"]
    else:
        names = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    signed = "".join(f"{name}\n{made[name]}\n" for name in names).encode()
    digest = SHA1() if version == "1" else SHA256()
    return made | {"Signature": base64.b64encode(key.sign(signed, PKCS1v15(), digest)).decode()}


def event(kind, part=None, **mail):
    return {
        "eventType": kind,
        "mail": {"timestamp": "2026-03-01T10:00:00Z", "messageId": "ses-1", "destination": ["ada@example.org"], **mail},
        kind[:1].lower() + kind[1:]: {"timestamp": "2026-03-01T11:00:00.123Z", **(part or {})},
    }


@pytest.fixture
def read(post, configured, now):
    def run(body, secrets=(), headers=None, **options):
        request = post(body, **(headers or {})).with_certificate(CERTIFICATE_URL, PEM)
        return SOURCE.read(request, configured("ses", *secrets, **{"topic_arns": [TOPIC], **options}), now)

    return run


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", [{}, {"Subject": "Amazon SES Email Event Notification"}])
def test_both_versions_of_the_signature_are_read(read, accepted, now, version, subject):
    body = message(now, version, Message=json.dumps(event("Open", {"userAgent": "Mozilla/5.0"})), **subject)
    (touchpoint,) = accepted(read(body))
    assert (touchpoint.id, touchpoint.type, touchpoint.key) == ("sns-1", "email_opened", "email:ada@example.org")
    assert touchpoint.machine
    assert touchpoint.occurred_at == datetime(2026, 3, 1, 11, 0, 0, 123000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "part", "expected"),
    [
        ("Send", {}, "email_sent"),
        ("Delivery", {"recipients": ["ada@example.org"]}, "email_delivered"),
        ("Click", {"link": "https://x"}, "email_clicked"),
        (
            "Bounce",
            {"bounceType": "Permanent", "bouncedRecipients": [{"emailAddress": "ada@example.org"}]},
            "email_bounced",
        ),
        ("Complaint", {"complainedRecipients": [{"emailAddress": "ada@example.org"}]}, "email_complained"),
        ("Subscription", {"newTopicPreferences": {"unsubscribeAll": True}}, "unsubscribed"),
        ("Reject", {"reason": "Bad content"}, "email_dropped"),
    ],
)
def test_events_are_normalised(read, accepted, now, kind, part, expected):
    assert accepted(read(message(now, Message=json.dumps(event(kind, part)))))[0].type == expected


def test_every_recipient_has_a_touchpoint_of_their_own(read, accepted, now):
    two = event("Delivery", {"recipients": ["ada@example.org", "bob@example.org"]}, tags={"customer_id": ["u1"]})
    first, second = accepted(read(message(now, Message=json.dumps(two))))
    assert first.email == "ada@example.org"
    assert second.email == "bob@example.org"
    assert first.id != second.id


def test_the_certificate_is_asked_for_and_then_used(post, configured, now):
    request = post(message(now, Message=json.dumps(event("Open"))))
    config = configured("ses", topic_arns=[TOPIC])
    assert SOURCE.read(request, config, now) == NeedsCertificate(CERTIFICATE_URL)
    assert isinstance(SOURCE.read(request.with_certificate(CERTIFICATE_URL, PEM), config, now), Understood)
    assert isinstance(
        SOURCE.read(request.with_certificate(CERTIFICATE_URL, b"no certificate"), config, now), RequestRejection
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/x.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.org/x.pem",
        "https://sns.eu-west-1.amazonaws.com@evil.org/x.pem",
        "https://evil.org/sns.eu-west-1.amazonaws.com/x.pem",
        "https://evil.org#.sns.eu-west-1.amazonaws.com/x.pem",
        "https://evil.org\\.sns.eu-west-1.amazonaws.com/x.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/x.pem",
        "https://s3.eu-west-1.amazonaws.com/x.pem",
        "https://sns.eu-west-1.s3.amazonaws.com/x.pem",
        "https://sns.eu-west-1.amazonaws.com/x.pem?next=https://evil.org",
        "https://sns.eu-west-1.amazonaws.com/../x.pem",
        "https://sns.eu-west-1.amazonaws.com/x.pem\n",
        "https://[::1",
        7,
        None,
    ],
)
def test_no_certificate_is_fetched_from_elsewhere(read, now, url):
    refused = read(message(now, Message="{}") | {"SigningCertURL": url})
    assert isinstance(refused, RequestRejection)
    assert refused.status == 401


@pytest.mark.parametrize("host", ["sns.us-gov-west-1.amazonaws.com", "sns.cn-north-1.amazonaws.com.cn"])
def test_every_region_of_amazon_has_its_host(host):
    assert sns.is_certificate_url(f"https://{host}/SimpleNotificationService-a.pem")


def test_a_subscription_to_our_topic_is_confirmed(read, now):
    body = message(now, Type="SubscriptionConfirmation", Message="x", Token="t", SubscribeURL=SUBSCRIBE_URL)
    reading = read(body)
    assert reading.fetch_url == SUBSCRIBE_URL
    assert not reading.touchpoints


def test_a_subscription_of_another_topic_is_not_confirmed(read, now):
    other = TOPIC.replace("123456789012", "999999999999")
    body = message(
        now, Type="SubscriptionConfirmation", Message="x", Token="t", SubscribeURL=SUBSCRIBE_URL, TopicArn=other
    )
    refused = read(body)
    assert isinstance(refused, RequestRejection)
    assert refused.status == 403


def test_a_signed_url_that_does_not_confirm_is_not_fetched(read, now):
    url = "https://sns.eu-west-1.amazonaws.com/?Action=DeleteTopic"
    body = message(now, Type="SubscriptionConfirmation", Message="x", Token="t", SubscribeURL=url)
    assert isinstance(read(body), RequestRejection)


def test_the_end_of_a_subscription_is_not_undone(read, now):
    body = message(now, Type="UnsubscribeConfirmation", Message="x", Token="t", SubscribeURL=SUBSCRIBE_URL)
    assert read(body).fetch_url is None


def test_a_tampered_message_is_refused(read, now):
    good = message(now, Message=json.dumps(event("Open")))
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for body in (
        good | {"Message": "{}"},
        good | {"Subject": "added"},
        good | {"SignatureVersion": "1"},
        good | {"SignatureVersion": "3"},
        good | {"Type": "Other"},
        good | {"Signature": "AAAA"},
        message(now, key=other, Message="{}"),
    ):
        refused = read(body)
        assert isinstance(refused, RequestRejection)
        assert refused.status == 401


@pytest.mark.parametrize("age", [timedelta(seconds=3601), timedelta(seconds=-301)])
def test_a_replayed_or_future_dated_message_is_refused(read, now, age):
    refused = read(message(now - age, Message=json.dumps(event("Open"))))
    assert isinstance(refused, RequestRejection)
    assert refused.status == 401


def test_credentials_are_asked_for_before_anything_is_read(read, now):
    body = message(now, Message=json.dumps(event("Open")))
    challenged = read(body, secrets=("u:p",))
    assert (challenged.status, challenged.headers["WWW-Authenticate"]) == (401, 'Basic realm="touchline"')
    allowed = read(body, secrets=("u:p",), headers={"authorization": "Basic " + base64.b64encode(b"u:p").decode()})
    assert isinstance(allowed, Understood)


def test_a_text_that_is_no_event_is_kept(read, now):
    reading = read(message(now, Message="Successfully validated SNS topic for Amazon SES event publishing."))
    assert json.loads(reading.unreadable[0].body)["MessageId"] == "sns-1"


def test_topics_must_be_listed(configured):
    assert SOURCE.check(configured("ses"))
    assert SOURCE.check(configured("ses", topic_arns=[TOPIC])) == []
