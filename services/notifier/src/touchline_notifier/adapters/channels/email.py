"""The email channel: SMTP, text and HTML, one-click unsubscribe (RFC 8058), a stable Message-ID.

DKIM is the mail server's to sign: it should cover ``List-Unsubscribe`` and ``List-Unsubscribe-Post`` (RFC 8058 §4).
"""

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from datetime import datetime
from email.errors import HeaderParseError, MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, parseaddr

import aiosmtplib
from touchline_runtime.settings import is_loopback

from touchline_notifier.adapters.channels.mail_templates import MailTemplates
from touchline_notifier.core.channel import Attempt, Delivered, Delivery, GaveUp, Retry
from touchline_notifier.core.delivery.message_id import envelope_sender, mail_message_id
from touchline_notifier.core.endpoints import Endpoint

# Headers a play's own can't replace: who, to whom, which message, and the way out.
_OURS = frozenset(
    (
        *("from", "to", "cc", "bcc", "sender", "reply-to", "subject", "date", "message-id", "auto-submitted"),
        *("list-unsubscribe", "list-unsubscribe-post"),
        *("mime-version", "content-type", "content-transfer-encoding"),
    )
)


_CLOSING = 421
"""``Service not available, closing transmission channel`` (RFC 5321 §4.2.3): it asks to be left alone."""


class NotAMailError(ValueError):
    """The delivery can't be made a mail; the text says why."""


class EmailChannel:
    """Mails to customers."""

    name = "email"
    needs_address = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls or ssl.create_default_context()
        self._templates = MailTemplates()

    def check(self, endpoint: Endpoint) -> Sequence[str]:
        """What is wrong with an endpoint: it needs a server and a sender, and never a password in the clear."""
        wrong = []
        if endpoint.smtp is None:
            wrong.append("smtp: say which server: smtp: {host: smtp.example.org, port: 587}")
        elif endpoint.smtp.tls == "none" and endpoint.smtp.password and not is_loopback(endpoint.smtp.host):
            wrong.append("smtp: a password would cross the network in the clear: use tls: starttls or tls: tls")
        if not endpoint.sender or "@" not in parseaddr(endpoint.sender)[1]:
            wrong.append('from: say whom mails come from: from: "Care <care@example.org>"')
        if endpoint.bounce_address is not None and "@" not in endpoint.bounce_address:
            wrong.append("bounce_address: write an address, such as bounce+{delivery}@example.org")
        return wrong

    async def send(self, delivery: Delivery, endpoint: Endpoint, now: datetime) -> Attempt:
        """Hand the mail to the server once."""
        if endpoint.smtp is None or endpoint.sender is None:
            return Retry("the endpoint has no mail server or no sender")
        try:
            mail = self.compose(delivery, endpoint, now)
        except NotAMailError as error:
            return GaveUp(str(error))
        sender = parseaddr(endpoint.sender)[1]
        if endpoint.bounce_address:
            sender = envelope_sender(endpoint.bounce_address, delivery.id)
        smtp = endpoint.smtp
        client = aiosmtplib.SMTP(
            hostname=smtp.host,
            port=smtp.port,
            username=smtp.username,
            password=smtp.password.get_secret_value() if smtp.password else None,
            use_tls=smtp.tls == "tls",
            start_tls=smtp.tls == "starttls",
            tls_context=self._tls,
            timeout=smtp.timeout_seconds,
            # Given, because the library would otherwise ask a name server, and hold up everything while it waits.
            local_hostname=sender.rpartition("@")[2],
        )
        try:
            async with asyncio.timeout(smtp.timeout_seconds):
                await client.connect()
                await client.send_message(mail, sender=sender, recipients=[str(delivery.message.to)])
            # The server has it. What goes wrong while saying good-bye doesn't make it undone.
            with contextlib.suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
                await client.quit(timeout=2)
        except aiosmtplib.SMTPRecipientsRefused as error:
            return _answered(error.recipients[0].code, error.recipients[0].message)
        except aiosmtplib.SMTPResponseException as error:
            if isinstance(error, aiosmtplib.SMTPDataError | aiosmtplib.SMTPRecipientRefused):
                return _answered(error.code, error.message)
            # The greeting, the log-in or the sender was refused: that is the endpoint's trouble, not this mail's.
            why = f"answered {error.code}: {_one_line(error.message)}"
            return Retry(why, status=error.code, throttled=error.code == _CLOSING)
        except aiosmtplib.SMTPNotSupported as error:
            return GaveUp(_one_line(str(error)))
        except TimeoutError:  # SMTPTimeoutError is one too
            return Retry(f"no answer from {smtp.host}:{smtp.port} within {smtp.timeout_seconds:g} s")
        except (aiosmtplib.SMTPException, OSError) as error:
            return Retry(f"{smtp.host}:{smtp.port}: {type(error).__name__}: {_one_line(str(error))}")
        finally:
            client.close()
        return Delivered(250)

    def compose(self, delivery: Delivery, endpoint: Endpoint, now: datetime) -> EmailMessage:
        """The mail, with the same Message-ID on every attempt.

        Raises:
            NotAMailError: the address or a header can't be written into a mail.
        """
        message = delivery.message
        if not message.to:
            raise NotAMailError("the customer has no e-mail address")
        sender_name, sender_address = parseaddr(endpoint.sender or "")
        mail = EmailMessage(policy=SMTP_POLICY)
        try:
            mail["From"] = Address(sender_name, addr_spec=sender_address)
            mail["To"] = Address(addr_spec=message.to)
            mail["Subject"] = _one_line(message.subject or "")
            mail["Date"] = format_datetime(now)
            mail["Message-ID"] = mail_message_id(delivery.id, sender_address.rpartition("@")[2])
            mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday replies
            if endpoint.reply_to:
                mail["Reply-To"] = endpoint.reply_to
            if message.unsubscribe_url:
                mail["List-Unsubscribe"] = f"<{message.unsubscribe_url}>"
                mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
            for name, value in {**endpoint.headers, **message.headers}.items():
                if name.lower() not in _OURS:
                    mail[name] = value
        except (ValueError, IndexError, HeaderParseError, MessageError) as error:
            raise NotAMailError(f"can't be written as a mail: {error}") from None
        mail.set_content(self._templates.text(message))
        mail.add_alternative(self._templates.html(message), subtype="html")
        return mail

    async def close(self) -> None:
        """Nothing to close: every mail has a connection of its own."""


def _answered(code: int, message: str) -> Attempt:
    """What a reply to this very mail means (RFC 5321 §4.2.1: 4yz may work later, 5yz never will)."""
    why = f"answered {code}: {_one_line(message)}"
    return GaveUp(why, code) if code >= 500 else Retry(why, status=code)


def _one_line(text: str) -> str:
    return " ".join(text.split())
