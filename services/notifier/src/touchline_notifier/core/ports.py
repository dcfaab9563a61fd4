"""What the API, the pages and the command line ask of the notifier's memory; bootstrap wires in who answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from touchline_notifier.core.endpoints import Endpoint
from touchline_notifier.core.hold_out import Group


class BadCursorError(ValueError):
    """Not a cursor of ours."""


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
        """Every endpoint that is configured or known from before: what was learnt about it, and how much waits."""

    async def endpoint_states(self) -> dict[str, dict[str, Any]]:
        """endpoint → what was learnt about it, and how much waits for it."""


class Operations(Protocol):
    """What an operator does."""

    async def replay(self, delivery: UUID, now: datetime) -> str | None:
        """Try a delivery again from the start of the schedule; its status then, None where there is none."""

    async def enable(self, endpoint: str, now: datetime) -> None:
        """Open an endpoint again that is disabled, or that waits for its breaker."""

    async def sending(self) -> Sending:
        """The switch."""

    async def switch(self, wanted: Sending) -> None:
        """Turn the switch."""


class Unsubscribe(Protocol):
    """A customer's own word."""

    async def __call__(self, customer_id: str, channel: str, now: datetime) -> None:
        """Refuse consent for a channel."""
