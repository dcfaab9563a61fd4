"""The email channel: SMTP, text and HTML, one-click unsubscribe (RFC 8058), a stable Message-ID.

DKIM is the mail server's to sign: it should cover ``List-Unsubscribe`` and ``List-Unsubscribe-Post`` (RFC 8058 §4).
The mail leaves as 7 bit, so that no server on the way has to encode it again and break the signature (RFC 6376 §5.3).
"""

import asyncio
import contextlib
import re
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.errors import MessageError
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime

import aiosmtplib
from touchline_runtime.config.settings import is_loopback

from touchline_notifier.adapters.smtp.mail_templates import MailTemplates
from touchline_notifier.application.delivering.delivery_leases import LeaseLostError, may_still_send
from touchline_notifier.core.delivery.channel import Attempt, Delivered, Delivery, GaveUp, Retry
from touchline_notifier.core.delivery.endpoints import Endpoint, Smtp
from touchline_notifier.core.delivery.mail_headers import BadHeaderError, address_field, header_field, people_of
from touchline_notifier.core.delivery.message_ids import envelope_sender, mail_message_id
from touchline_notifier.core.profiles.mailbox import NotAnAddressError, parse_mailbox

# Headers that a play cannot replace: sender, recipient, message id, unsubscribe link.
_OURS = frozenset(
    (
        *("from", "to", "cc", "bcc", "sender", "reply-to", "subject", "date", "message-id", "auto-submitted"),
        *("list-unsubscribe", "list-unsubscribe-post", "mime-version"),
        *("return-path", "received", "dkim-signature"),
    )
)
_OURS_BY_PREFIX = ("content-", "resent-", "arc-")
_SEVEN_BIT = SMTP_POLICY.clone(cte_type="7bit")

_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?![\d.])")
"""An enhanced status code (RFC 3463)."""
_SOME_DELIVERY = "00000000-0000-5000-8000-000000000000"
_CLOSING = 421
"""``Service not available, closing transmission channel`` (RFC 5321 §4.2.3): it accepts no more mail for now."""


class NotAMailError(ValueError):
    """The delivery can't be made a mail; the text says why.

    Attributes:
        excerpt: what may repeat the address or the message (:attr:`GaveUp.excerpt`).
    """

    def __init__(self, why: str, excerpt: str = "") -> None:
        super().__init__(why)
        self.excerpt = excerpt


class StartTlsError(Exception):
    """The server doesn't begin TLS; the text says why, and what to write."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as it is sent.

    Attributes:
        sender: of the envelope.
        raw: header and body, lines ended by CRLF. ASCII unless an address needs SMTPUTF8. needs_smtputf8: whose address
            only a server with SMTPUTF8 (RFC 6531) accepts: recipient, sender, or None.
    """

    sender: str
    recipient: str
    raw: bytes
    needs_smtputf8: str | None = None


class EmailChannel:
    """Mails to customers."""

    name = "email"
    needs_address = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls or ssl.create_default_context()
        self._templates = MailTemplates()

    def check(self, endpoint: Endpoint) -> Sequence[str]:
        """What is wrong with an endpoint: it needs a server and a sender, and never sends a password unencrypted."""
        wrong = []
        if endpoint.smtp is None:
            wrong.append("smtp: say which server: smtp: {host: smtp.example.org, port: 587}")
        elif endpoint.smtp.tls == "none" and endpoint.smtp.password and not is_loopback(endpoint.smtp.host):
            wrong.append("smtp: a password would cross the network in the clear: use tls: starttls or tls: tls")
        if not endpoint.sender:
            wrong.append('from: say whom mails come from: from: "Care <care@example.org>"')
        for name, value in (("from", endpoint.sender), ("reply_to", endpoint.reply_to)):
            try:
                people = people_of(name, value) if value else []
            except BadHeaderError as error:
                wrong.append(f'{error}: write "Care <care@example.org>"')
            else:
                if name == "from" and len(people) > 1:
                    wrong.append('from: one address alone: from: "Care <care@example.org>"')
        if endpoint.bounce_address is not None:
            try:
                parse_mailbox(envelope_sender(endpoint.bounce_address, _SOME_DELIVERY))
            except NotAnAddressError:
                wrong.append("bounce_address: write an address, such as bounce+{delivery}@example.org")
        for name, value in endpoint.headers.items():
            try:
                header_field(name, value)
            except BadHeaderError as error:
                wrong.append(f"headers: {error}")
        return wrong

    async def send(self, delivery: Delivery, endpoint: Endpoint, now: datetime) -> Attempt:
        """Pass the mail to the server once."""
        if endpoint.smtp is None or endpoint.sender is None:
            return Retry("the endpoint has no mail server or no sender")
        try:
            mail = self.compose(delivery, endpoint, now)
        except NotAMailError as error:
            return GaveUp(str(error), excerpt=error.excerpt)
        smtp = endpoint.smtp
        client = aiosmtplib.SMTP(
            hostname=smtp.host,
            port=smtp.port,
            use_tls=smtp.tls == "tls",
            start_tls=False,  # below, where its failures can be distinguished from others
            tls_context=self._tls,
            timeout=smtp.timeout_seconds,
            # Given, because the library would otherwise ask a name server, and hold up everything while it waits.
            local_hostname=mail.sender.rpartition("@")[2],
        )
        try:
            async with asyncio.timeout(smtp.timeout_seconds):
                await client.connect()
                _ask_before_writing(client)
                if smtp.tls == "starttls":
                    await _begin_tls(client, smtp)
                if smtp.username is not None:
                    await client.login(smtp.username, smtp.password.get_secret_value() if smtp.password else "")
                options = []
                if mail.needs_smtputf8 is not None:
                    if not await _takes_smtputf8(client):
                        return _without_smtputf8(mail.needs_smtputf8, smtp)
                    options = ["SMTPUTF8", "BODY=8BITMIME"]
                # Not send_message: it writes the header again, by Python's own rules.
                await client.sendmail(mail.sender, [mail.recipient], mail.raw, mail_options=options)
            # The server has accepted it. An error while closing the connection changes nothing.
            with contextlib.suppress(aiosmtplib.SMTPException, OSError, TimeoutError, LeaseLostError):
                await client.quit(timeout=2)
        except StartTlsError as error:
            return Retry(str(error))
        except aiosmtplib.SMTPRecipientsRefused as error:
            return _answered(error.recipients[0].code, error.recipients[0].message)
        except aiosmtplib.SMTPResponseException as error:
            if isinstance(error, aiosmtplib.SMTPDataError | aiosmtplib.SMTPRecipientRefused):
                return _answered(error.code, error.message)
            # The greeting, the log-in or the sender was refused: that is a fault of the endpoint, not of this mail.
            why, excerpt = _words(error.code, error.message)
            return Retry(why, status=error.code, throttled=error.code == _CLOSING, excerpt=excerpt)
        except TimeoutError:  # SMTPTimeoutError is one too
            return Retry(f"no answer from {smtp.host}:{smtp.port} within {smtp.timeout_seconds:g} s")
        except OSError as error:
            return Retry(f"{smtp.host}:{smtp.port}: {type(error).__name__}: {_one_line(str(error))}")
        except aiosmtplib.SMTPException as error:
            return Retry(f"{smtp.host}:{smtp.port}: {type(error).__name__}", excerpt=_one_line(str(error)))
        except ValueError as error:  # an address that the library takes for none
            return GaveUp("can't be written as a mail", excerpt=_one_line(str(error)))
        finally:
            client.close()
        return Delivered(250)

    def compose(self, delivery: Delivery, endpoint: Endpoint, now: datetime) -> Mail:
        """The mail, with the same Message-ID on every attempt.

        Raises:
            NotAMailError: the address or a header can't be written into a mail.
        """
        message = delivery.message
        if not message.to:
            raise NotAMailError("the customer has no e-mail address")
        try:
            recipient = parse_mailbox(message.to)
            (sender,) = people_of("from", endpoint.sender or "")
            replies = people_of("reply_to", endpoint.reply_to) if endpoint.reply_to else []
            envelope = sender[1]
            if endpoint.bounce_address:
                envelope = parse_mailbox(envelope_sender(endpoint.bounce_address, delivery.id))
            fields = [
                address_field("From", [sender]),
                address_field("To", [("", recipient)]),
                header_field("Subject", message.subject or ""),
                header_field("Date", format_datetime(now)),
                header_field("Message-ID", mail_message_id(delivery.id, sender[1].domain)),
                header_field("Auto-Submitted", "auto-generated"),  # RFC 3834: no holiday replies
            ]
            if replies:
                fields.append(address_field("Reply-To", replies))
            if message.unsubscribe_url:
                fields.append(header_field("List-Unsubscribe", f"<{message.unsubscribe_url}>"))
                fields.append(header_field("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
            fields += [header_field(name, value) for name, value in _own_headers(delivery, endpoint)]
            body = EmailMessage(policy=_SEVEN_BIT)
            body.set_content(self._templates.text(message))
            body.add_alternative(self._templates.html(message), subtype="html")
        except (NotAnAddressError, BadHeaderError) as error:
            raise NotAMailError(f"can't be written as a mail: {error}") from None
        except (MessageError, ValueError) as error:
            raise NotAMailError("can't be written as a mail", str(error)) from None
        return Mail(
            str(envelope),
            str(recipient),
            b"".join(fields) + body.as_bytes(),
            "recipient" if recipient.needs_smtputf8
            else "sender" if any(one.needs_smtputf8 for one in (envelope, sender[1], *(who for _, who in replies)))
            else None,
        )  # fmt: skip

    async def close(self) -> None:
        """Nothing to close: every mail has a connection of its own."""


def _own_headers(delivery: Delivery, endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    """The endpoint's and the play's headers; the play's replace the endpoint's, and neither replaces ours."""
    given = {name.lower(): (name, value) for name, value in endpoint.headers.items()}
    given |= {name.lower(): (name, value) for name, value in delivery.message.headers.items()}
    for key, (name, value) in given.items():
        if key not in _OURS and not key.startswith(_OURS_BY_PREFIX) and value.strip():
            yield name, value


def _ask_before_writing(client: aiosmtplib.SMTP) -> None:
    """Look at the lease before each line that is sent: the server may take its time to answer any of them, and the
    mail itself is the last. A mail that is broken off before its end is none (RFC 5321 §4.1.1.4).
    """
    protocol = client.protocol
    assert protocol is not None, "it is connected"
    write = protocol.write

    def checked(data: bytes) -> None:
        if not may_still_send.get()():
            raise LeaseLostError
        write(data)

    protocol.write = checked  # type: ignore[method-assign]


async def _begin_tls(client: aiosmtplib.SMTP, smtp: Smtp) -> None:
    """Encrypt the connection.

    Raises:
        StartTlsError: the server doesn't offer it, refuses it, or shows a certificate that isn't trusted.
    """
    try:
        await client.starttls()
    except TimeoutError:
        raise
    except aiosmtplib.SMTPServerDisconnected as error:
        why = f"the connection was closed: {_one_line(str(error))}"
    except aiosmtplib.SMTPResponseException as error:
        why = f"answered {error.code}"
    except (aiosmtplib.SMTPException, OSError) as error:
        why = _one_line(str(error)) or type(error).__name__
    else:
        return
    raise StartTlsError(
        f"{smtp.host}:{smtp.port}: STARTTLS failed: {why}. Use a server that offers it with a trusted certificate, or "
        "smtp.tls: tls (port 465); on loopback and in tests, smtp.tls: none"
    )


async def _takes_smtputf8(client: aiosmtplib.SMTP) -> bool:
    if client.last_ehlo_response is None:
        await client.ehlo()
    return client.supports_extension("smtputf8")


def _without_smtputf8(whose: str, smtp: Smtp) -> Attempt:
    why = (
        f"the {whose}'s address isn't ASCII before its @, and the mail server {smtp.host}:{smtp.port} doesn't offer "
        "SMTPUTF8 (RFC 6531)"
    )
    return GaveUp(why) if whose == "recipient" else Retry(why)


def _answered(code: int, message: str) -> Attempt:
    """What a reply to this very mail means (RFC 5321 §4.2.1: 4yz may work later, 5yz never will)."""
    why, excerpt = _words(code, message)
    # A full mailbox or a greylisted recipient says nothing about the server; 421 does: it closes the connection.
    return GaveUp(why, code, excerpt) if code >= 500 else Retry(why, status=code, excerpt=excerpt, own=code != _CLOSING)


def _words(code: int, message: str) -> tuple[str, str]:
    """A reply in our words, and as the server sent it: those may repeat the address in any spelling."""
    excerpt = _one_line(message)
    enhanced = _ENHANCED.match(excerpt)
    return f"answered {code}" + (f" {enhanced[0]}" if enhanced else ""), excerpt


def _one_line(text: str) -> str:
    return " ".join(text.split())
