"""The other side of the notifier, on this machine: a company system that takes signed webhooks, and a mailbox.

Both keep and count what arrived; the demo and the tests read them. They listen on 127.0.0.1 and run in
threads of their own.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as default_policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from standardwebhooks import Webhook, WebhookVerificationError

from touchline_devstack.embedded.ports import free_port

_LARGEST_BODY = 1 << 20


@dataclass(frozen=True)
class Answer:
    """A receiver's answer to one request.

    Attributes:
        body_pause_seconds: wait that long between the headers and each byte of the body.
        pause_seconds: wait that long before anything.
    """

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    pause_seconds: float = 0.0
    body_pause_seconds: float = 0.0


@dataclass(frozen=True)
class Arrived:
    """One request, with what its signature was worth."""

    at: datetime
    path: str
    headers: dict[str, str]
    body: bytes
    verdict: Literal["valid", "invalid"]
    duplicate: bool

    @property
    def webhook_id(self) -> str:
        """Empty when there was none."""
        return self.headers.get("webhook-id", "")

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    receiver: "WebhookReceiver"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Somebody who hangs up is no news."""


class WebhookReceiver:
    """A company system. Use as a context manager.

    Args:
        secrets: signing secrets; a request that any of them fits is valid.
        answer: the answer to each request; 204 by default. Called in the request's thread.
    """

    def __init__(
        self, secrets: Sequence[str], *, port: int = 0, answer: Callable[[Arrived], Answer] | None = None
    ) -> None:
        self._verifiers = [Webhook(secret) for secret in secrets]
        self.answer = answer or (lambda arrived: Answer())
        self._lock = threading.Lock()
        self._arrived: list[Arrived] = []
        self._known: set[str] = set()
        self._stopping = threading.Event()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.receiver = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="webhook-receiver", daemon=True
        )

    def __enter__(self) -> "WebhookReceiver":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def arrived(self) -> list[Arrived]:
        """Everything so far, in order."""
        with self._lock:
            return list(self._arrived)

    def counts(self) -> dict[str, int]:
        """``valid``, ``invalid`` and ``duplicates`` (valid ones whose webhook-id had arrived before)."""
        arrived = self.arrived
        verdicts = Counter(one.verdict for one in arrived)
        return {
            "valid": verdicts["valid"],
            "invalid": verdicts["invalid"],
            "duplicates": sum(one.duplicate for one in arrived),
        }

    def types(self) -> dict[str, int]:
        """How many distinct valid webhooks of each ``type`` arrived."""
        return dict(Counter(one.json["type"] for one in self.arrived if one.verdict == "valid" and not one.duplicate))

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> Arrived:
        verdict: Literal["valid", "invalid"] = "valid" if self._verified(headers, body) else "invalid"
        with self._lock:
            webhook_id = headers.get("webhook-id", "")
            duplicate = verdict == "valid" and webhook_id in self._known
            if verdict == "valid":
                self._known.add(webhook_id)
            arrived = Arrived(datetime.now(UTC), path, headers, body, verdict, duplicate)
            self._arrived.append(arrived)
        return arrived

    def _verified(self, headers: dict[str, str], body: bytes) -> bool:
        for verifier in self._verifiers:
            # The library raises ValueError on signatures that are garbled rather than wrong.
            with suppress(WebhookVerificationError, ValueError):
                verifier.verify(body, headers)
                return True
        return False

    def _wait(self, seconds: float) -> None:
        self._stopping.wait(seconds)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = min(int(self.headers.get("content-length", "0")), _LARGEST_BODY)
        body = self.rfile.read(length)
        if len(body) < length:
            # The sender broke off, or was killed, in the middle: no request has arrived.
            self.close_connection = True
            return
        receiver = self.server.receiver
        arrived = receiver._take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        answer = receiver.answer(arrived)
        receiver._wait(answer.pause_seconds)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        if answer.body_pause_seconds:
            for byte in answer.body:
                receiver._wait(answer.body_pause_seconds)
                self.wfile.write(bytes([byte]))
        elif answer.body:
            self.wfile.write(answer.body)

    def log_message(self, *_: object) -> None:
        """Silent: what arrived is kept, not printed."""


@dataclass(frozen=True)
class CaughtMail:
    """One mail as it was handed over.

    Attributes:
        raw: the bytes as they came, header and body.
        options: of MAIL FROM, such as ``SMTPUTF8``.
    """

    envelope_from: str
    envelope_to: list[str]
    message: EmailMessage
    raw: bytes
    options: list[str]
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def text(self) -> str:
        """Its plain part."""
        part = self.message.get_body(("plain",))
        return str(part.get_content()) if part is not None else ""

    @property
    def html(self) -> str:
        """Its HTML part."""
        part = self.message.get_body(("html",))
        return str(part.get_content()) if part is not None else ""


class _MailHandler:
    def __init__(self, catcher: "MailCatcher") -> None:
        self._catcher = catcher

    async def handle_RCPT(  # noqa: N802  (aiosmtpd's name)
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        refusal = self._catcher.refuse(address)
        if refusal is not None:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content
        raw = content if isinstance(content, bytes) else str(content).encode()
        message = message_from_bytes(raw, policy=default_policy)
        assert isinstance(message, EmailMessage)
        options = list(envelope.mail_options)
        self._catcher._keep(CaughtMail(envelope.mail_from or "", list(envelope.rcpt_tos), message, raw, options))
        return "250 OK"


class MailCatcher:
    """A mail server that keeps everything and passes nothing on. Use as a context manager.

    Args:
        refuse: an SMTP reply to refuse a recipient with, such as ``550 no such user``, or None to take the mail.
        smtputf8: whether it offers SMTPUTF8, which addresses that aren't ASCII before the ``@`` need.
    """

    host = "127.0.0.1"

    def __init__(
        self, *, port: int = 0, refuse: Callable[[str], str | None] | None = None, smtputf8: bool = True
    ) -> None:
        self._smtputf8 = smtputf8
        self.refuse = refuse or (lambda address: None)
        self._wanted_port = port
        self._lock = threading.Lock()
        self._mails: list[CaughtMail] = []
        self._controller: Controller | None = None

    def __enter__(self) -> "MailCatcher":
        for attempt in range(10):
            # aiosmtpd wants to know its port beforehand; another process may take a free one in between.
            port = self._wanted_port or free_port()
            controller = Controller(
                _MailHandler(self), hostname=self.host, port=port, enable_SMTPUTF8=self._smtputf8, ready_timeout=60
            )
            try:
                controller.start()
            except OSError:
                if self._wanted_port or attempt == 9:
                    raise
                time.sleep(0.05)
            else:
                self._controller = controller
                break
        return self

    def __exit__(self, *_: object) -> None:
        if self._controller is not None:
            self._controller.stop()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._controller is not None, "use as a context manager"
        return int(self._controller.port)

    @property
    def mails(self) -> list[CaughtMail]:
        """Everything so far, in order."""
        with self._lock:
            return list(self._mails)

    def counts(self) -> dict[str, int]:
        """``mails``, and ``duplicates`` (a Message-ID that had arrived before)."""
        identifiers = [str(mail.message["Message-ID"]) for mail in self.mails]
        return {"mails": len(identifiers), "duplicates": len(identifiers) - len(set(identifiers))}

    def _keep(self, mail: CaughtMail) -> None:
        with self._lock:
            self._mails.append(mail)
