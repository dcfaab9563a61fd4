"""Sends mails through the channel to a real SMTP server, and reads the raw bytes as it got them."""

import asyncio
import re
from datetime import UTC, datetime
from email.header import decode_header, make_header
from typing import Any
from uuid import uuid4

from touchline_devstack.receivers import CaughtMail, MailCatcher
from touchline_notifier.adapters.smtp.email import EmailChannel
from touchline_notifier.core.delivery.channel import Attempt, Delivered, Delivery, Message
from touchline_notifier.core.delivery.endpoints import Endpoint, Smtp

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CHANNEL = EmailChannel()


def send(catcher: MailCatcher, *, endpoint: dict[str, Any] | None = None, **message: Any) -> Attempt:
    """One attempt through the channel."""
    given: dict[str, Any] = {"sender": "Care <care@mail.example.org>", **(endpoint or {})}
    smtp = given.pop("smtp", Smtp(host=catcher.host, port=catcher.port, tls="none", timeout_seconds=60))
    there = Endpoint(name="mail", type="email", smtp=smtp, **given)
    answered = {"to": "ada@example.org", "text": "Hello", **message}
    one = Message(str(uuid4()), "touchline.action", "2026-03-01T12:00:00Z", "c-1", **answered)
    delivery = Delivery(one.delivery_id, "action", None, "c-1", "email", "mail", one, 1, NOW)
    return asyncio.run(CHANNEL.send(delivery, there, NOW))


def sent(catcher: MailCatcher, **given: Any) -> CaughtMail:
    """The mail as it arrived."""
    before = len(catcher.mails)
    assert send(catcher, **given) == Delivered(250)
    (mail,) = catcher.mails[before:]
    return mail


def fields(mail: CaughtMail) -> list[tuple[str, str]]:
    """Header fields in order, unfolded as RFC 5322 §2.2.3 says (CRLF before white space goes), not decoded."""
    head = mail.raw.partition(b"\r\n\r\n")[0].decode()
    unfolded = re.sub(r"\r\n(?=[ \t])", "", head)
    return [(line.partition(":")[0], line.partition(":")[2].removeprefix(" ")) for line in unfolded.split("\r\n")]


def field(mail: CaughtMail, name: str) -> str:
    (value,) = (value for key, value in fields(mail) if key.lower() == name.lower())
    return value


def decoded(value: str) -> str:
    return str(make_header(decode_header(value)))


def is_sound(mail: CaughtMail) -> None:
    """Lines, line ends and ASCII, of the whole mail."""
    assert b"\n" not in mail.raw.replace(b"\r\n", b"")
    assert b"\r" not in mail.raw.replace(b"\r\n", b"")
    assert mail.raw.isascii()
    assert max(map(len, mail.raw.split(b"\r\n"))) <= 998
    head, _, body = mail.raw.partition(b"\r\n\r\n")
    assert max(map(len, body.split(b"\r\n"))) <= 78
    for line in head.split(b"\r\n"):
        assert line.strip(), "a line of blanks in a header is obsolete syntax (RFC 5322 §4.2)"
        for word in re.findall(rb"=\?[^ ]*\?=", line):
            assert len(word) <= 75, "RFC 2047 §2"
    names = [name.lower() for name, _ in fields(mail)]
    once = ("from", "to", "subject", "date", "message-id", "reply-to", "list-unsubscribe", "mime-version")
    assert all(names.count(name) <= 1 for name in once)
