"""The one interface of every source: a request and its configuration in, touchpoints or a refusal out.

A source is pure. It holds no clock, opens no connection and keeps no state: the shell hands it the request, the
configuration and the time, and acts on the value that comes back::

    Understood        publish the drafts, dead-letter what was unreadable, then answer
    RequestRejection           answer so; nothing is published
    NeedsCertificate  fetch it (https, no redirect, small, short time), then ask again with it

A package adds a source of its own through the entry point group ``touchline.sources``; see ``docs/sources.md``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol, TypeAlias, runtime_checkable

TouchpointDraft: TypeAlias = dict[str, Any]
"""A touchpoint as a caller of ``POST /v1/touchpoints`` may post it, not yet validated.

Fields: ``id type channel direction customer_id anonymous_id email external_id occurred_at properties machine
backfill``; ``occurred_at`` is an aware datetime or an RFC 3339 text, and a field that is not known is left out. What is
common to all sources (lengths, characters, the age of ``occurred_at``) is checked once, after the source.
"""


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request, read completely.

    Attributes:
        method: upper-case, ``POST``.
        url: the public URL as the sender wrote it, query included; behind a proxy that is not what the server saw.
        headers: by lower-case name; repeated ones joined with ``", "``.
        body: the raw bytes, decompressed.
        query: the decoded query parameters, the last of each name.
        certificates: PEM bytes by URL, which the shell fetched after an earlier ``NeedsCertificate``.
        compressed: the body as it was sent, where that was compressed.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    query: Mapping[str, str] = field(default_factory=dict)
    certificates: Mapping[str, bytes] = field(default_factory=dict)
    compressed: bytes | None = None

    @property
    def signed_bodies(self) -> tuple[bytes, ...]:
        """What a signature may have been made over; it has to match one.

        Senders that document compressed webhooks sign what they compress: GetStream ("the payload signature check is
        done on the uncompressed payload") and Quicknode Streams ("signs the uncompressed JSON before gzipping it"). A
        proxy that compresses on the way changes nothing of that. Stripe, SendGrid, HubSpot and the Standard Webhooks
        specification name the raw body and say nothing of compression, so the bytes as sent are accepted too.
        """
        return (self.body,) if self.compressed is None else (self.body, self.compressed)

    def with_certificate(self, url: str, pem: bytes) -> "Request":
        """The same request with one certificate more, to ask the source again."""
        return replace(self, certificates={**self.certificates, url: pem})


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """One source as the operator configured it.

    Attributes:
        name: the source's name; its touchpoints carry it.
        kind: which source reads its requests.
        secrets: the secrets in force, any of which may have signed (more than one while rotating).
        options: everything else in the source's entry, by name.
    """

    name: str
    kind: str
    secrets: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """The HTTP answer that a sender expects once everything is published."""

    status: int = 200
    body: bytes = b'{"ok":true}'
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A part of the request that makes no touchpoint: to the dead letters, with its bytes and the reason.

    Attributes:
        index: the part's place in the request. Where every part makes one touchpoint (Segment, CloudEvents), the drafts
            have the other places, in order, so that each sender's result finds its event.
    """

    body: bytes
    reason: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class Understood:
    """The request is genuine.

    Attributes:
        touchpoints: in the sender's order.
        unreadable: what couldn't be read; to be dead-lettered before the sender gets a 2xx.
        reply: the answer on success; None leaves it to the shell.
        fetch_url: a URL to GET once (SNS's confirmation of a subscription); a failure is answered with 503, so that the
            sender asks again.
        tokens: single-use tokens; if one was used before, refuse with ``TOKEN_USED`` and publish nothing; remember them
            once everything is published.
    """

    touchpoints: Sequence[TouchpointDraft] = ()
    unreadable: Sequence[Unreadable] = ()
    reply: Reply | None = None
    fetch_url: str | None = None
    tokens: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class RequestRejection:
    """The request is not taken.

    Attributes:
        status: 400 (malformed), 401 (not proven genuine), 403 (genuine, not allowed), 413 or 415; 503 for a fault here.
        title: what is wrong, in a few words, the same for every request of its sort.
        detail: what to check.
        headers: to add to the answer, such as ``WWW-Authenticate``.
        cause: for the log, never for the sender.
    """

    status: int
    title: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    cause: str = ""


@dataclass(frozen=True, slots=True)
class NeedsCertificate:
    """The signature can't be checked without the certificate at ``url``, whose host is already found trustworthy."""

    url: str


ReadResult: TypeAlias = Understood | RequestRejection | NeedsCertificate

TOKEN_USED = RequestRejection(
    401,
    "webhook replayed",
    "This request's single-use token was accepted before. Nothing is lost: the first delivery was taken.",
)


@runtime_checkable
class Source(Protocol):
    """What reads the requests of one kind of source. Instances are shared and hold no state of any request."""

    @property
    def kind(self) -> str:
        """The name in the sources file (``kind: stripe``)."""

    def check(self, config: SourceConfig) -> Sequence[str]:
        """What is wrong with a configuration and what to write instead; empty when it is sound."""

    def read(self, request: Request, config: SourceConfig, now: datetime) -> ReadResult:
        """Read one request. Never raises, for any bytes.

        Args:
            now: aware, the time of receipt; signatures are too old or from the future by it.
        """
