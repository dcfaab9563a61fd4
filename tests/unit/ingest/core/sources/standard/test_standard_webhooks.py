import base64
import json
from datetime import timedelta

import pytest
import svix
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from standardwebhooks.webhooks import Webhook
from touchline_ingest.core.sources.interface import RequestRejection, Understood
from touchline_ingest.core.sources.standard.standard_webhooks import StandardWebhooks

SOURCE = StandardWebhooks()
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
OLD = "whsec_" + base64.b64encode(b"o" * 32).decode()
BODY = json.dumps({"type": "demo_booked", "customer_id": "u1", "occurred_at": "2026-03-01T11:00:00Z"}).encode()


def headers(signature, at, message_id="msg_1"):
    return {
        "webhook_id": message_id,
        "webhook_timestamp": str(int(at.timestamp())),
        "webhook_signature": signature,
    }


def signed(body, at, secret=SECRET):
    return headers(Webhook(secret).sign("msg_1", at, body.decode()), at)


def test_what_the_reference_library_signs_is_read(post, configured, now, accepted):
    reading = SOURCE.read(post(BODY, **signed(BODY, now)), configured("standard-webhooks", SECRET), now)
    (touchpoint,) = accepted(reading)
    assert (touchpoint.id, touchpoint.type, touchpoint.key) == ("msg_1", "demo_booked", "u1")


def test_what_svix_signs_is_read(post, configured, now, accepted):
    signature = svix.Webhook(SECRET).sign("msg_1", now, BODY.decode())
    named = {"svix_id": "msg_1", "svix_timestamp": str(int(now.timestamp())), "svix_signature": signature}
    assert accepted(SOURCE.read(post(BODY, **named), configured("standard-webhooks", SECRET), now))


def test_any_of_several_signatures_and_secrets_will_do(post, configured, now, accepted):
    both = signed(BODY, now, OLD)["webhook_signature"] + " " + "v2,zzz " + signed(BODY, now)["webhook_signature"]
    assert accepted(SOURCE.read(post(BODY, **headers(both, now)), configured("standard-webhooks", SECRET), now))
    request = post(BODY, **signed(BODY, now, OLD))
    assert accepted(SOURCE.read(request, configured("standard-webhooks", SECRET, OLD), now))


def test_an_asymmetric_signature_is_read(post, configured, now, accepted):
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    message = b"msg_1." + str(int(now.timestamp())).encode() + b"." + BODY
    signature = "v1a," + base64.b64encode(key.sign(message)).decode()
    config = configured("standard-webhooks", "whpk_" + base64.b64encode(public).decode())
    assert SOURCE.check(config) == []
    assert accepted(SOURCE.read(post(BODY, **headers(signature, now)), config, now))
    both = configured("standard-webhooks", SECRET, *config.secrets)
    assert accepted(SOURCE.read(post(BODY, **headers(signature, now)), both, now))
    assert accepted(SOURCE.read(post(BODY, **signed(BODY, now)), both, now))
    tampered = SOURCE.read(post(BODY + b" ", **headers(signature, now)), config, now)
    assert isinstance(tampered, RequestRejection)


@pytest.mark.parametrize(
    ("age", "title"),
    [(timedelta(seconds=301), "request too old"), (timedelta(seconds=-301), "request from the future")],
)
def test_a_replayed_or_future_dated_request_is_refused(post, configured, now, age, title):
    refused = SOURCE.read(post(BODY, **signed(BODY, now - age)), configured("standard-webhooks", SECRET), now)
    assert isinstance(refused, RequestRejection)
    assert (refused.status, refused.title) == (401, title)


def test_a_tampered_body_id_or_timestamp_is_refused(post, configured, now):
    good = signed(BODY, now)
    for request in (
        post(BODY.replace(b"u1", b"u2"), **good),
        post(BODY, **{**good, "webhook_id": "msg_2"}),
        post(BODY, **{**good, "webhook_timestamp": str(int(now.timestamp()) + 1)}),
        post(BODY, **{**good, "webhook_signature": "v1,"}),
        post(BODY),
    ):
        refused = SOURCE.read(request, configured("standard-webhooks", SECRET), now)
        assert isinstance(refused, RequestRejection)
        assert refused.status == 401


def test_the_payload_of_the_specification_is_read(post, configured, now, accepted):
    body = json.dumps(
        {"type": "order.paid", "timestamp": "2026-03-01T11:00:00Z", "data": {"customer_id": "u1", "total": 5}}
    ).encode()
    config = configured("standard-webhooks", SECRET, events={"order.paid": "purchased"})
    (touchpoint,) = accepted(SOURCE.read(post(body, **signed(body, now)), config, now))
    assert (touchpoint.type, touchpoint.key, touchpoint.properties) == ("purchased", "u1", {"total": 5})


def test_every_touchpoint_of_an_array_has_an_id_of_its_own(post, configured, now, accepted):
    body = b"[" + BODY + b"," + BODY + b"]"
    first, second = accepted(SOURCE.read(post(body, **signed(body, now)), configured("standard-webhooks", SECRET), now))
    assert first.id != second.id


def test_a_genuine_body_that_is_no_json_is_kept(post, configured, now):
    reading = SOURCE.read(post(b"hello", **signed(b"hello", now)), configured("standard-webhooks", SECRET), now)
    assert isinstance(reading, Understood)
    assert [one.body for one in reading.unreadable] == [b"hello"]


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_***", "whpk_AAAA"])
def test_a_secret_that_can_verify_nothing_is_a_problem(configured, secret):
    assert SOURCE.check(configured("standard-webhooks", secret))
