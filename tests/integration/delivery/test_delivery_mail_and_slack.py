"""Mails to a real SMTP server, and messages to Slack's side of an incoming webhook."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from pydantic import SecretStr
from touchline_devstack.receivers import Answer, MailCatcher, WebhookReceiver
from touchline_notifier.core.delivery.endpoints import Endpoint, Smtp

pytestmark = pytest.mark.stack
Working = Callable[..., Any]


def mail_endpoint(mailbox: MailCatcher, **more: Any) -> Endpoint:
    given: dict[str, Any] = {
        "smtp": Smtp(host=mailbox.host, port=mailbox.port, tls="none", timeout_seconds=60),
        "sender": "Cäre <care@mail.example.org>",
        "bounce_address": "bounce+{delivery}@mail.example.org",
    }
    return Endpoint(name="mail", type="email", **(given | more))


def slack_endpoint(receiver: WebhookReceiver) -> Endpoint:
    return Endpoint(name="team", type="slack", url=SecretStr(receiver.url))


async def test_a_mail_arrives_in_two_parts_with_a_one_click_way_out(
    stored: Any, working: Working, mailbox: MailCatcher
) -> None:
    _, delivery = await stored.action(
        "mail", channel="email", to="ada@example.org", subject="Grüße\nBcc: eve@example.org", text="Dear <Ada>,\n\nbye",
        unsubscribe_url="https://touchline.example.org/v1/unsubscribe/abc.def",
    )  # fmt: skip
    async with working(mail_endpoint(mailbox)):
        await stored.until_status(delivery, "sent")
    (mail,) = mailbox.mails
    assert mail.envelope_to == ["ada@example.org"]
    assert mail.envelope_from == f"bounce+{delivery.replace('-', '')}@mail.example.org"
    assert mail.message["From"] == "Cäre <care@mail.example.org>"
    assert mail.message["To"] == "ada@example.org"
    assert mail.message["Subject"] == "Grüße Bcc: eve@example.org"
    assert mail.message["Bcc"] is None
    assert mail.message["Message-ID"] == f"<{delivery.replace('-', '')}@mail.example.org>"
    assert mail.message["List-Unsubscribe"] == "<https://touchline.example.org/v1/unsubscribe/abc.def>"
    assert mail.message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail.text.startswith("Dear <Ada>,")
    assert "https://touchline.example.org/v1/unsubscribe/abc.def" in mail.text
    assert "<p>Dear &lt;Ada&gt;,</p>" in mail.html
    assert 'href="https://touchline.example.org/v1/unsubscribe/abc.def"' in mail.html
    (_, touched) = await stored.outbox()
    assert touched[3]["type"] == "email_delivered"


async def test_a_mail_refused_for_now_is_tried_again_under_the_same_message_id(
    stored: Any, working: Working, mailbox: MailCatcher
) -> None:
    mailbox.refuse = lambda address: "451 greylisted, come back"
    _, delivery = await stored.action("mail", channel="email", to="ada@example.org", text="Hello")
    async with working(mail_endpoint(mailbox)):
        row = await stored.until_attempted(delivery, 1)
        assert (row["status"], row["last_status"]) == ("pending", 451)
        mailbox.refuse = lambda address: None
        await stored.due_now()
        await stored.until_status(delivery, "sent")
    assert mailbox.mails[0].message["Message-ID"] == f"<{delivery.replace('-', '')}@mail.example.org>"


async def test_a_mail_refused_for_good_fails_at_once(stored: Any, working: Working, mailbox: MailCatcher) -> None:
    mailbox.refuse = lambda address: "550 no such user"
    _, delivery = await stored.action("mail", channel="email", to="ada@example.org", text="Hello")
    async with working(mail_endpoint(mailbox)):
        row = await stored.until_status(delivery, "failed")
    assert row["last_error"] == "answered 550: no such user"
    (expected_text, _) = await stored.outbox()
    assert expected_text[3]["reason"] == "delivery_failed: answered 550"


@pytest.mark.parametrize(
    "reply",
    [
        "550 5.1.1 <ada@example.org>: Recipient address rejected: User unknown",
        "550 5.7.1 mailbox of Ada+News=40Example.org is full (bounce+ada=example.org@mx)",
        "554 no ada here, says ADA@EXAMPLE.ORG",
        "451 4.2.0 greylisted ada@example.org, come back",
    ],
)
async def test_no_log_topic_or_endpoint_repeats_what_a_mail_server_said(
    stored: Any, working: Working, mailbox: MailCatcher, reply: str
) -> None:
    """Kind: the other side's words name the customer; they may be kept only where an erasure removes them."""
    mailbox.refuse = lambda address: reply
    _, delivery = await stored.action("mail", channel="email", to="ada@example.org", text="Hello")
    with structlog.testing.capture_logs() as logged:
        async with working(mail_endpoint(mailbox)):
            row = await stored.until_attempted(delivery, 1)
    assert reply.split()[-1] in row["last_error"], "an operator sees the whole reply"
    elsewhere = [str(logged), str(await stored.outbox())]
    elsewhere += [str(dict(one)) for one in await stored.pool.fetch("SELECT * FROM endpoint_state")]
    elsewhere += [str(dict(one)) for one in await stored.pool.fetch("SELECT reason_code, reason FROM actions")]
    assert logged
    for text in elsewhere:
        without_ids = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32}", "", text.lower())
        assert "ada" not in without_ids.replace("adapters", "")


@pytest.mark.parametrize("to", [None, "not an address", "ada@example.org\nBcc: eve@example.org", "a@b@c"])
async def test_what_is_no_address_fails_at_once_and_nothing_leaves(
    stored: Any, working: Working, mailbox: MailCatcher, to: str | None
) -> None:
    _, delivery = await stored.action("mail", channel="email", to=to, text="Hello")
    async with working(mail_endpoint(mailbox)):
        await stored.until_status(delivery, "failed")
    assert mailbox.mails == []


async def test_a_mail_server_that_is_away_or_silent_is_tried_again(
    stored: Any, working: Working, mailbox: MailCatcher
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        smtp = Smtp(host="127.0.0.1", port=port, tls="none", timeout_seconds=0.5)
        _, delivery = await stored.action("mail", channel="email", to="ada@example.org", text="Hello")
        async with working(mail_endpoint(mailbox, smtp=smtp)):
            row = await stored.until_attempted(delivery, 1)
        assert row["status"] == "pending"
        assert "within 0.5 s" in row["last_error"]
    async with working(mail_endpoint(mailbox, smtp=smtp)):
        await stored.due_now()
        row = await stored.until_attempted(delivery, 2)
    assert row["status"] == "pending"
    assert mailbox.mails == []


async def test_a_server_without_tls_gets_no_mail_where_tls_is_asked_for(
    stored: Any, working: Working, mailbox: MailCatcher
) -> None:
    smtp = Smtp(host=mailbox.host, port=mailbox.port, tls="starttls", timeout_seconds=60)
    _, delivery = await stored.action("mail", channel="email", to="ada@example.org", text="Hello")
    async with working(mail_endpoint(mailbox, smtp=smtp)):
        row = await stored.until_attempted(delivery, 1)
    assert row["status"] != "sent"
    assert mailbox.mails == []


async def test_slack_gets_a_text_that_can_mention_nobody(
    stored: Any, working: Working, receiver: WebhookReceiver
) -> None:
    receiver.answer = lambda arrived: Answer(200, body=b"ok")
    _, delivery = await stored.action("team", channel="slack", subject="Call c-1", text="<!channel> & co")
    async with working(slack_endpoint(receiver)):
        await stored.until_status(delivery, "sent")
    assert receiver.arrived[0].json == {"text": "*Call c-1*\n&lt;!channel&gt; &amp; co"}


async def test_a_slack_room_that_is_gone_disables_the_endpoint(
    stored: Any, working: Working, receiver: WebhookReceiver
) -> None:
    receiver.answer = lambda arrived: Answer(404, body=b"channel_not_found")
    _, delivery = await stored.action("team", channel="slack", text="Hello")
    async with working(slack_endpoint(receiver)):
        await stored.until_status(delivery, "failed")
    assert await stored.pool.fetchval("SELECT disabled_reason FROM endpoint_state") == (
        "answered 404: channel_not_found"
    )


async def test_a_message_that_slack_cannot_read_fails_and_the_next_one_goes(
    stored: Any, working: Working, receiver: WebhookReceiver
) -> None:
    receiver.answer = lambda arrived: (
        Answer(400, body=b"invalid_payload") if len(receiver.arrived) == 1 else Answer(200, body=b"ok")
    )
    _, first = await stored.action("team", channel="slack", text="Hello")
    async with working(slack_endpoint(receiver)):
        await stored.until_status(first, "failed")
        _, second = await stored.action("team", channel="slack", text="Hello")
        await stored.until_status(second, "sent")


async def test_nothing_goes_to_an_address_that_was_suppressed_after_the_decision(
    stored: Any, working: Working, mailbox: MailCatcher
) -> None:
    _, delivery = await stored.action("mail", channel="email", to="ada@example.org", text="Hello", to_customer=True)
    _, own = await stored.action("mail", channel="email", to="ada@example.org", text="To the company's own box")
    await stored.suppress("ada@example.org", "email_complained")
    async with working(mail_endpoint(mailbox)):
        row = await stored.until_status(delivery, "cancelled")
        assert row["last_error"] == "the address is suppressed: email_complained"
        await stored.until_status(own, "sent")
    assert [mail.text.strip() for mail in mailbox.mails] == ["To the company's own box"]
    published = [value for topic, _, _, value in await stored.outbox() if topic == "retention-actions"]
    (held,) = [one for one in published if one["outcome"] == "held"]
    assert held["reason"] == "suppressed: the address is suppressed: email_complained"


async def test_nothing_goes_to_a_customer_who_refused_after_the_decision(
    stored: Any, working: Working, mailbox: MailCatcher
) -> None:
    _, delivery = await stored.action("mail", channel="email", to="ada@example.org", text="Hello", consent="email")
    _, other = await stored.action("mail", channel="email", to="ada@example.org", text="Hello", consent="sms")
    await stored.refuse("c-1", "email")
    async with working(mail_endpoint(mailbox)):
        assert (await stored.until_status(delivery, "cancelled"))["last_error"] == "consent for email was refused"
        await stored.until_status(other, "sent")
    assert len(mailbox.mails) == 1


@pytest.mark.parametrize(
    ("expected_text", "known"),
    [
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("ada@xn--bcher-kva.example", "ada@bücher.example"),
        ("Ada@BÜCHER.example", "ada@bu\u0308cher.example"),
        ("zoe\u0308@пример.example", "zoë@xn--e1afmkfd.example"),
    ],
)
async def test_one_mailbox_in_two_spellings_is_one_for_suppression(
    stored: Any, working: Working, mailbox: MailCatcher, expected_text: str, known: str
) -> None:
    _, first = await stored.action("mail", channel="email", to=known, text="Hello", to_customer=True)
    _, second = await stored.action("mail", channel="email", to=expected_text, text="Hello", to_customer=True)
    await stored.suppress(expected_text, "email_complained")
    async with working(mail_endpoint(mailbox)):
        for delivery in (first, second):
            assert (await stored.until_status(delivery, "cancelled"))["last_error"].endswith("email_complained")
    assert mailbox.mails == []
