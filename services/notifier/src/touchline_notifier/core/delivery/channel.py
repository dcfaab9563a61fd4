"""The interface of every channel: it sends a message to an endpoint, and returns the result of the attempt.

A channel makes one attempt and says how it ended; when to try again, and when to stop, is decided elsewhere::

    Delivered     the other side took it
    Retry         it may work later; not before ``after``, where the other side said so
    GaveUp        it will never work: this message is the reason (refused, no address)
    EndpointGone  it will never work: the endpoint is the reason (410); nothing more is sent there

A package adds a channel of its own through the entry point group ``touchline.channels`` (name → a class without
constructor arguments).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from touchline_notifier.core.delivery.endpoints import Endpoint


@dataclass(frozen=True, slots=True)
class Message:
    """The rendered message for an endpoint. It is the same for every attempt.

    Attributes:
        delivery_id: UUID text; ``webhook-id`` and ``Message-ID`` are made of it.
        type: ``touchline.action`` for a play's action, else the fact's ``ce_type`` for a subscription.
        timestamp: RFC 3339, when it was decided, or when the fact was decided.
        customer_id: whom it is about.
        data: what a program needs: for an action the fields of the event (play, fact, lifecycle, stage, …) and the
            customer's traits the play asks for; for a subscription the fact's JSON.
        to: the customer's address, on channels that need one (email).
        subject: rendered, one line.
        text: rendered plain text.
        html: rendered HTML, if the play has some.
        unsubscribe_url: the one-click address (RFC 8058), on channels that send to customers.
        headers: a play's own headers (webhooks: HTTP headers; email: message headers).
        to_customer: ``to`` is the customer's own address, so nothing is sent once it is suppressed.
        consent: the channel whose refusal forbids the message; None where no consent is needed.
        locale: the language of the texts, where the play says it.
        pixel_url: of the pixel that the HTML of a mail ends with, where its opens are tracked.
        trace: the ``traceparent`` of the decision, where tracing is on.
    """

    delivery_id: str
    type: str
    timestamp: str
    customer_id: str
    data: Mapping[str, Any] = field(default_factory=dict)
    to: str | None = None
    subject: str | None = None
    text: str | None = None
    html: str | None = None
    unsubscribe_url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    to_customer: bool = False
    consent: str | None = None
    locale: str | None = None
    pixel_url: str | None = None
    trace: str | None = None

    def to_row(self) -> dict[str, Any]:
        """JSON for the ``message`` column."""
        return {name: value for name, value in asdict(self).items() if value not in (None, {}, False)}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Message":
        """Read back what :meth:`to_row` wrote; fields of later versions are ignored."""
        return cls(**{name: row[name] for name in cls.__dataclass_fields__ if name in row})


@dataclass(frozen=True, slots=True)
class Delivered:
    """The other side accepted it. ``status`` is its HTTP or SMTP code."""

    status: int | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """It may work later.

    Attributes:
        why: for people: the error or the status, in our own words.
        after: not before this long from now, as the other side asked (Retry-After).
        status: HTTP or SMTP code, if one came.
        throttled: 429, 502, 504: the whole endpoint should get no deliveries for a while.
        excerpt: see :attr:`GaveUp.excerpt`.
        own: this message is the reason (400, 413, 422, a full mailbox), so it says nothing about the endpoint.
    """

    why: str
    after: timedelta | None = None
    status: int | None = None
    throttled: bool = False
    excerpt: str = ""
    own: bool = False


@dataclass(frozen=True, slots=True)
class GaveUp:
    """This message will never be accepted; others may be. Without a status it never reached the endpoint.

    Attributes:
        excerpt: the beginning of the other side's answer. It may repeat the customer's address or the message, so it is
            kept in the delivery's row, which an erasure removes; it goes to no log, topic or endpoint's state.
    """

    why: str
    status: int | None = None
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class EndpointGone:
    """The endpoint accepts no more deliveries (410). ``excerpt``: see :attr:`GaveUp.excerpt`."""

    why: str
    status: int | None = None
    excerpt: str = ""


Attempt: TypeAlias = Delivered | Retry | GaveUp | EndpointGone


def storable(attempt: Attempt) -> Attempt:
    """The attempt with texts that can be stored: an answer may hold characters that PostgreSQL rejects."""
    if isinstance(attempt, Delivered):
        return attempt
    return replace(attempt, why=_storable(attempt.why), excerpt=_storable(attempt.excerpt))


def _storable(text: str) -> str:
    return text.encode(errors="replace").decode().replace("\x00", "\ufffd")


@dataclass(frozen=True, slots=True)
class Delivery:
    """A row of the ``deliveries`` table, as far as a channel or a worker needs it."""

    id: str
    kind: Literal["action", "subscription"]
    action_id: str | None
    customer_id: str
    channel: str
    endpoint: str
    message: Message
    attempts: int
    created_at: datetime


@runtime_checkable
class Channel(Protocol):
    """A way to send messages. Instances are shared by all deliveries and keep no state of a single one."""

    @property
    def name(self) -> str:
        """The name in plays (``action: {channel: webhook}``) and in the endpoints file (``type: webhook``)."""

    @property
    def needs_address(self) -> bool:
        """Whether it writes to the customer: then the play needs an address, consent, and no suppression."""

    def check(self, endpoint: Endpoint) -> Sequence[str]:
        """What is wrong with an endpoint of this type and what to write instead; empty when it is correct."""

    async def send(self, delivery: Delivery, endpoint: Endpoint, now: datetime) -> Attempt:
        """Make one attempt. Never raises for what the other side or the network does.

        Args:
            now: aware; signatures carry it.
        """

    async def close(self) -> None:
        """Close connections."""
