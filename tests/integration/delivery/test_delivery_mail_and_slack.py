"""Mails to a real SMTP server, and messages to Slack's side of an incoming webhook."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr
from touchline_devstack.receivers import Answer, MailCatcher, WebhookReceiver
from touchline_notifier.core.endpoints import Endpoint, Smtp

pytestmark = pytest.mark.stack
Working = Callable[..., Any]


def mail_endpoint(mailbox: MailCatcher, **more: Any) -> Endpoint:
    given: dict[str, Any] = {
        "smtp": Smtp(host=mailbox.host, port=mailbox.port, tls="none", timeout_seconds=5),
        "sender": "Cäre <care@mail.example.org>",
        "bounce_address": "bounce+{delivery}@mail.example.org",
    }
    return Endpoint(name="mail", type="email", **(given | more))


def slack_endpoint(receiver: WebhookReceiver) -> Endpoint:
    return Endpoint(name="team", type="slack", url=SecretStr(receiver.url))


async def test_a_mail_arrives_in_two_parts_with_a_one_click_way_out(
    book: Any, working: Working, mailbox: MailCatcher
) -> None:
    _, delivery = await book.action(
        "mail", channel="email", to="ada@example.org", subject="Grüße\nBcc: eve@example.org", text="Dear <Ada>,\n\nbye",
        unsubscribe_url="https://touchline.example.org/v1/unsubscribe/abc.def",
    )  # fmt: skip
    async with working(mail_endpoint(mailbox)):
        await book.until_status(delivery, "sent")
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
    (_, touched) = await book.outbox()
    assert touched[3]["type"] == "email_delivered"


async def test_a_mail_refused_for_now_is_tried_again_under_the_same_message_id(
    book: Any, working: Working, mailbox: MailCatcher
) -> None:
    mailbox.refuse = lambda address: "451 greylisted, come back"
    _, delivery = await book.action("mail", channel="email", to="ada@example.org", text="Hello")
    async with working(mail_endpoint(mailbox)):
        row = await book.until_attempted(delivery, 1)
        assert (row["status"], row["last_status"]) == ("pending", 451)
        mailbox.refuse = lambda address: None
        await book.due_now()
        await book.until_status(delivery, "sent")
    assert mailbox.mails[0].message["Message-ID"] == f"<{delivery.replace('-', '')}@mail.example.org>"


async def test_a_mail_refused_for_good_fails_at_once(book: Any, working: Working, mailbox: MailCatcher) -> None:
    mailbox.refuse = lambda address: "550 no such user"
    _, delivery = await book.action("mail", channel="email", to="ada@example.org", text="Hello")
    async with working(mail_endpoint(mailbox)):
        row = await book.until_status(delivery, "failed")
    assert row["last_error"] == "answered 550: no such user"
    (said, _) = await book.outbox()
    assert said[3]["reason"] == "delivery_failed: answered 550: no such user"


@pytest.mark.parametrize("to", [None, "not an address", "ada@example.org\nBcc: eve@example.org", "a@b@c"])
async def test_what_is_no_address_fails_at_once_and_nothing_leaves(
    book: Any, working: Working, mailbox: MailCatcher, to: str | None
) -> None:
    _, delivery = await book.action("mail", channel="email", to=to, text="Hello")
    async with working(mail_endpoint(mailbox)):
        await book.until_status(delivery, "failed")
    assert mailbox.mails == []


async def test_a_mail_server_that_is_away_or_silent_is_tried_again(
    book: Any, working: Working, mailbox: MailCatcher
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        smtp = Smtp(host="127.0.0.1", port=port, tls="none", timeout_seconds=0.5)
        _, delivery = await book.action("mail", channel="email", to="ada@example.org", text="Hello")
        async with working(mail_endpoint(mailbox, smtp=smtp)):
            row = await book.until_attempted(delivery, 1)
        assert row["status"] == "pending"
        assert "within 0.5 s" in row["last_error"]
    async with working(mail_endpoint(mailbox, smtp=smtp)):
        await book.due_now()
        row = await book.until_attempted(delivery, 2)
    assert row["status"] == "pending"
    assert mailbox.mails == []


async def test_a_server_without_tls_gets_no_mail_where_tls_is_asked_for(
    book: Any, working: Working, mailbox: MailCatcher
) -> None:
    smtp = Smtp(host=mailbox.host, port=mailbox.port, tls="starttls", timeout_seconds=5)
    _, delivery = await book.action("mail", channel="email", to="ada@example.org", text="Hello")
    async with working(mail_endpoint(mailbox, smtp=smtp)):
        row = await book.until_attempted(delivery, 1)
    assert row["status"] != "sent"
    assert mailbox.mails == []


async def test_slack_gets_a_text_that_can_mention_nobody(
    book: Any, working: Working, receiver: WebhookReceiver
) -> None:
    receiver.answer = lambda arrived: Answer(200, body=b"ok")
    _, delivery = await book.action("team", channel="slack", subject="Call c-1", text="<!channel> & co")
    async with working(slack_endpoint(receiver)):
        await book.until_status(delivery, "sent")
    assert receiver.arrived[0].json == {"text": "*Call c-1*\n&lt;!channel&gt; &amp; co"}


async def test_a_slack_room_that_is_gone_disables_the_endpoint(
    book: Any, working: Working, receiver: WebhookReceiver
) -> None:
    receiver.answer = lambda arrived: Answer(404, body=b"channel_not_found")
    _, delivery = await book.action("team", channel="slack", text="Hello")
    async with working(slack_endpoint(receiver)):
        await book.until_status(delivery, "failed")
    assert await book.pool.fetchval("SELECT disabled_reason FROM endpoint_state") == ("answered 404: channel_not_found")


async def test_a_message_that_slack_cannot_read_fails_and_the_next_one_goes(
    book: Any, working: Working, receiver: WebhookReceiver
) -> None:
    receiver.answer = lambda arrived: (
        Answer(400, body=b"invalid_payload") if len(receiver.arrived) == 1 else Answer(200, body=b"ok")
    )
    _, first = await book.action("team", channel="slack", text="Hello")
    async with working(slack_endpoint(receiver)):
        await book.until_status(first, "failed")
        _, second = await book.action("team", channel="slack", text="Hello")
        await book.until_status(second, "sent")


async def test_nothing_goes_to_an_address_that_was_suppressed_after_the_decision(
    book: Any, working: Working, mailbox: MailCatcher
) -> None:
    _, delivery = await book.action("mail", channel="email", to="ada@example.org", text="Hello", to_customer=True)
    _, own = await book.action("mail", channel="email", to="ada@example.org", text="To the company's own box")
    await book.suppress("ada@example.org", "email_complained")
    async with working(mail_endpoint(mailbox)):
        row = await book.until_status(delivery, "cancelled")
        assert row["last_error"] == "the address is suppressed: email_complained"
        await book.until_status(own, "sent")
    assert [mail.text.strip() for mail in mailbox.mails] == ["To the company's own box"]
    told = [value for topic, _, _, value in await book.outbox() if topic == "retention-actions"]
    (held,) = [one for one in told if one["outcome"] == "held"]
    assert held["reason"] == "suppressed: the address is suppressed: email_complained"


async def test_nothing_goes_to_a_customer_who_refused_after_the_decision(
    book: Any, working: Working, mailbox: MailCatcher
) -> None:
    _, delivery = await book.action("mail", channel="email", to="ada@example.org", text="Hello", consent="email")
    _, other = await book.action("mail", channel="email", to="ada@example.org", text="Hello", consent="sms")
    await book.refuse("c-1", "email")
    async with working(mail_endpoint(mailbox)):
        assert (await book.until_status(delivery, "cancelled"))["last_error"] == "consent for email was refused"
        await book.until_status(other, "sent")
    assert len(mailbox.mails) == 1
