"""Our signatures, held against the two receivers' libraries that the world uses."""

import base64
import json
import os
from datetime import UTC, datetime

import pytest
import standardwebhooks
import svix.webhooks
from hypothesis import given
from hypothesis import strategies as st
from touchline_notifier.core.delivery.signing import BadSecretError, SigningSecret, parse_secrets, signature_headers


def a_secret(length: int = 32) -> str:
    return "whsec_" + base64.b64encode(os.urandom(length)).decode()


def test_the_specifications_own_example_comes_out() -> None:
    # From the specification's reference test vectors (standard-webhooks, libraries).
    secret = SigningSecret.parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signature_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', [secret])
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(value=st.text(max_size=200))
def test_standardwebhooks_and_svix_accept_what_we_sign_and_nothing_else(value: str) -> None:
    secret = a_secret()
    body = json.dumps({"said": value}, ensure_ascii=False).encode("utf-8", "replace")
    headers = signature_headers("msg_1", int(datetime.now(UTC).timestamp()), body, parse_secrets(secret))
    assert standardwebhooks.Webhook(secret).verify(body, headers) == json.loads(body)
    svix.webhooks.Webhook(secret).verify(body, headers)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(secret).verify(body + b" ", headers)
    with pytest.raises(svix.webhooks.WebhookVerificationError):
        svix.webhooks.Webhook(secret).verify(body, headers | {"webhook-id": "msg_2"})


def test_during_a_rotation_a_receiver_with_either_secret_accepts() -> None:
    old, new = a_secret(24), a_secret(64)
    now = int(datetime.now(UTC).timestamp())
    headers = signature_headers("msg_1", now, b"{}", parse_secrets(f"{new} {old}"))
    assert len(headers["webhook-signature"].split()) == 2
    for secret in (old, new):
        assert standardwebhooks.Webhook(secret).verify("{}", headers) == {}
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(a_secret()).verify("{}", headers)


@pytest.mark.parametrize(
    "text",
    ["", "whsec_", "whsec_not base64!", a_secret(23), a_secret(65), "whsec_Zm9v"],
    ids=["empty", "prefix alone", "no base64", "too short", "too long", "far too short"],
)
def test_a_secret_that_is_none_is_refused_and_never_shown(text: str) -> None:
    with pytest.raises(BadSecretError) as refused:
        parse_secrets(text)
    assert not text.strip() or text.removeprefix("whsec_") == "" or text not in str(refused.value)


def test_a_secret_does_not_show_in_a_representation() -> None:
    secret = SigningSecret.parse(a_secret())
    assert repr(secret.key) not in repr(secret)
