"""The receivers of the demo: what they count is what arrived."""

import base64
import os
import smtplib
import socket
import time
from email.message import EmailMessage
from urllib.parse import urlsplit

import httpx
import pytest
from touchline_devstack.receivers import Answer, MailCatcher, WebhookReceiver
from touchline_notifier.core.delivery.signing import parse_secrets, signature_headers


def a_secret() -> str:
    return "whsec_" + base64.b64encode(os.urandom(32)).decode()


def signed(secret: str, webhook_id: str, body: bytes) -> dict[str, str]:
    return signature_headers(webhook_id, int(time.time()), body, parse_secrets(secret))


def test_valid_invalid_and_repeated_webhooks_are_told_apart() -> None:
    secret = a_secret()
    body = b'{"type":"touchline.action","timestamp":"2026-03-01T12:00:00Z","data":{}}'
    with WebhookReceiver([a_secret(), secret]) as receiver, httpx.Client(trust_env=False) as client:
        for headers in (
            signed(secret, "msg_1", body),
            signed(secret, "msg_1", body),
            signed(secret, "msg_2", body),
            signed(a_secret(), "msg_3", body),
            {"webhook-id": "msg_4", "webhook-timestamp": "1", "webhook-signature": "garbled"},
            {},
        ):
            assert client.post(receiver.url, content=body, headers=headers).status_code == 204
        assert receiver.counts() == {"valid": 3, "invalid": 3, "duplicates": 1}
        assert receiver.types() == {"touchline.action": 2}


def test_a_request_that_breaks_off_in_its_body_has_not_arrived() -> None:
    secret = a_secret()
    body = b'{"type": "touchline.stage-changed"}'
    with WebhookReceiver([secret]) as receiver:
        address = urlsplit(receiver.url)
        assert address.hostname
        assert address.port
        with socket.create_connection((address.hostname, address.port), 10) as connection:
            head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body[:10])
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""
        assert receiver.arrived == []
        assert httpx.post(receiver.url, content=body, headers=signed(secret, "m-1", body)).is_success
        assert receiver.counts() == {"valid": 1, "invalid": 0, "duplicates": 0}


def test_a_receiver_says_what_it_was_told_to_say() -> None:
    with WebhookReceiver([], answer=lambda arrived: Answer(429, {"Retry-After": "7"}, b"later")) as receiver:
        answer = httpx.post(receiver.url, content=b"{}", trust_env=False)
    assert (answer.status_code, answer.headers["retry-after"], answer.text) == (429, "7", "later")


def a_mail(identifier: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Message-ID"] = "care@example.org", "ada@example.org", identifier
    mail.set_content("Grüße")
    mail.add_alternative("<p>Grüße</p>", subtype="html")
    return mail


def test_mails_are_kept_with_both_parts_and_repeats_are_counted() -> None:
    with MailCatcher() as catcher:
        with smtplib.SMTP(catcher.host, catcher.port) as client:
            for identifier in ("<1@example.org>", "<2@example.org>", "<1@example.org>"):
                client.send_message(a_mail(identifier))
        assert catcher.counts() == {"mails": 3, "duplicates": 1}
        mail = catcher.mails[0]
    assert (mail.text.strip(), mail.html.strip()) == ("Grüße", "<p>Grüße</p>")
    assert (mail.envelope_from, mail.envelope_to) == ("care@example.org", ["ada@example.org"])


def test_a_refused_recipient_is_refused() -> None:
    with MailCatcher(refuse=lambda address: "550 no such user") as catcher:
        with (
            smtplib.SMTP(catcher.host, catcher.port) as client,
            pytest.raises(smtplib.SMTPRecipientsRefused),
        ):
            client.send_message(a_mail("<1@example.org>"))
        assert catcher.mails == []
