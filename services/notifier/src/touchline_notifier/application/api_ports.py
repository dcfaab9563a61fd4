"""What the API and the command line need. Adapters implement these protocols; bootstrap connects them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, Protocol
from uuid import UUID

from touchline_runtime.audit.entry import Actor

from touchline_notifier.core.delivery.endpoints import Endpoint
from touchline_notifier.core.limits.hold_out import Group
from touchline_notifier.core.profiles.sending_rule import Standing


class BadCursorError(ValueError):
    """The cursor was not made here."""


@dataclass(frozen=True, slots=True)
class Page:
    """Items and where the next ones begin; None at the end."""

    items: list[dict[str, Any]]
    next: str | None


@dataclass(frozen=True, slots=True)
class Sending:
    """The global switch that is kept in the database, and why it is off."""

    on: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """Which deliveries of an endpoint to try again: those of a status, that ended at ``since`` or later."""

    endpoint: str
    status: Literal["failed", "cancelled", "sent"] = "failed"
    since: datetime | None = None


class Queries(Protocol):
    """Reads. Lists come a page at a time, the newest first, and raise ``BadCursorError``."""

    async def actions(
        self,
        *,
        customer_id: str | None = None,
        play: str | None = None,
        outcome: str | None = None,
        reason: str | None = None,
        lifecycle: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Actions, the newest decision first."""

    async def action(self, ident: UUID) -> dict[str, Any] | None:
        """One action with its deliveries."""

    async def deliveries(
        self,
        *,
        customer_id: str | None = None,
        status: str | None = None,
        endpoint: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Deliveries, the newest first."""

    async def delivery(self, ident: UUID) -> dict[str, Any] | None:
        """One delivery with its message."""

    async def outcomes(self, play: str | None = None) -> dict[str, dict[str, Any]]:
        """play → how many actions of each outcome, and of those held back by reason."""

    async def results(self, play: str, within: timedelta, since: datetime | None) -> dict[str, dict[str, Group]]:
        """measure (recovered, returned, converted) → treated and held_out."""

    async def endpoints(self, configured: Mapping[str, Endpoint]) -> list[dict[str, Any]]:
        """Every endpoint that is configured or known from before: its state, and how much waits."""

    async def endpoint_states(self) -> dict[str, dict[str, Any]]:
        """endpoint → its state, and how much waits for it."""


class SequenceReads(Protocol):
    """Reads of sequences."""

    async def steps(self, play: str, digest: bytes, since: datetime | None) -> dict[str, Any]:
        """``steps``: step → how many came, are there, and left how; ``ended`` and ``earlier``: runs by how they ended,
        of the definition and of earlier ones.
        """

    async def runs(
        self,
        play: str,
        *,
        customer_id: str | None = None,
        step: str | None = None,
        running: bool | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """A play's runs, the newest first. Raises ``BadCursorError``."""


class Operations(Protocol):
    """What an operator does. Every change is recorded in the audit log, in the same transaction."""

    async def replay(self, delivery: UUID, now: datetime, actor: Actor) -> str | None:
        """Try a delivery again from the start of the schedule; its status then, None where there is none."""

    async def replayable(self, wanted: Replay) -> list[dict[str, Any]]:
        """The deliveries that a replay takes, the oldest first."""

    async def replay_all(self, wanted: Replay, now: datetime, actor: Actor) -> int:
        """Try all of them again from the start of the schedule, each under its own id; how many."""

    async def enable(self, endpoint: str, now: datetime, actor: Actor) -> None:
        """Send again to an endpoint that is disabled, or that waits for its breaker."""

    async def sending(self) -> Sending:
        """The switch."""

    async def switch(self, wanted: Sending, actor: Actor) -> None:
        """Turn the switch."""


class Suppressions(Protocol):
    """Suppressions of addresses by hand."""

    async def state(self, address: str) -> dict[str, Any] | None:
        """``suppressed``, ``reason``, ``since``; None: the address was never suppressed."""

    async def change(self, address: str, *, lifted: bool, reason: str | None, actor: Actor, now: datetime) -> None:
        """Suppress an address, or lift its suppression, as of now; recorded in the audit log."""


class Consent(Protocol):
    """Consent that an operator records for a customer."""

    async def change(
        self, customer_id: str, channel: str, *, given: bool, reason: str | None, actor: Actor, now: datetime
    ) -> bool:
        """Give or refuse it; whether anything changed. Recorded in the audit log."""


class Link(NamedTuple):
    """What an unsubscribe link is about.

    Attributes:
        languages: the customer's, as they were stated, the best first.
    """

    channel: str
    languages: Sequence[str] = ()


class Preferences(NamedTuple):
    """What a customer may choose, and what they get."""

    topics: Sequence[Standing]
    languages: Sequence[str] = ()


class MailLinks(Protocol):
    """The pixels and links of tracked mails."""

    async def opened(self, token: str, now: datetime, *, machine: bool, recorded: bool = True) -> None:
        """A pixel was asked for. Never raises for what a database does."""

    async def clicked(self, token: str, now: datetime, *, machine: bool, recorded: bool = True) -> str | None:
        """A link was followed: where it leads; None when it is not a link of ours.

        Raises:
            Unavailable: it may be one of ours, of a key that only the database knows, which does not answer.
        """


class Unsubscribe(Protocol):
    """The unsubscribe links."""

    async def link(self, token: str) -> Link | None:
        """What a link is about, None when it is not a valid link. Raises ``Unavailable``."""

    async def __call__(self, token: str, now: datetime) -> Link | None:
        """Refuse consent for a link's channel; see :meth:`link`."""

    async def choices(self, token: str) -> Preferences | None:
        """What the link's customer may choose; None when it is not a valid link. Raises ``Unavailable``."""

    async def choose(
        self, token: str, chosen: Collection[str], shown: Collection[str] | None, now: datetime
    ) -> Preferences | None:
        """Give consent for the chosen channels, and refuse it for the others that were shown; see :meth:`choices`."""
