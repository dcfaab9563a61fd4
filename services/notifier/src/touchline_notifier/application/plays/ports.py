"""What published plays need of the database."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from touchline_runtime.audit.entry import AuditEntry

from touchline_notifier.core.decisions.customer_history import CustomerHistory


class PublishedPlay(NamedTuple):
    """A play of which versions were published.

    Attributes:
        version: the version in force; None: the play was withdrawn.
        definition: the YAML of that version; empty when withdrawn.
        enabled: the play's switch.
    """

    play: str
    version: int | None
    definition: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class PlayVersion:
    """A version that was published."""

    play: str
    version: int
    definition: str
    author: str
    comment: str
    published_at: datetime
    in_force: bool = False


class PublishedPlays(Protocol):
    """Reads what is published. Every method raises ``Unavailable`` when the database does not answer.

    Within a transaction each read sees what was committed before it.
    """

    async def revision(self) -> int:
        """A number that rises with every change of a published play; 0: nothing was ever published."""

    async def all(self) -> list[PublishedPlay]:
        """Every play of which a version was published; a withdrawn one only while no file defines it."""

    async def versions(self, play: str) -> list[PlayVersion]:
        """Every version of a play, newest first."""


class PlayTable(Protocol):
    """Published plays in one transaction that excludes other writers."""

    async def state(self, play: str) -> PublishedPlay | None:
        """A play with its version in force; None: none was ever published."""

    async def last_version(self, play: str) -> int:
        """The number of the newest version; 0: there is none."""

    async def author(self, play: str, version: int) -> str | None:
        """Who published a version."""

    async def is_in_files(self, play: str) -> bool:
        """Whether the file of a running notifier defines the play."""

    async def add(self, version: PlayVersion) -> None:
        """Add a version and put it in force. A new play is switched on."""

    async def switch(self, play: str, enabled: bool) -> None:
        """Turn the switch."""

    async def withdraw(self, play: str) -> None:
        """No version is in force any more. The versions are kept, and the switch is on again."""

    async def record_files(self, plays: Sequence[str]) -> None:
        """Record which plays the files of the notifier define that started last."""

    async def audit(self, entry: AuditEntry) -> None:
        """Add an entry to the audit log."""


class PlayStore(Protocol):
    """The database of published plays. Every member raises the driver's errors."""

    def transaction(self) -> AbstractAsyncContextManager[PlayTable]:
        """A transaction that excludes other writers."""

    @property
    def published(self) -> PublishedPlays:
        """Reads, each in a transaction of its own."""


class RecentCustomers(Protocol):
    """Customers to try templates with."""

    async def recent(self, at_most: int) -> list[CustomerHistory]:
        """Customers whom actions were about lately; where there are too few, others that are known."""

    async def find(self, customer_id: str) -> CustomerHistory | None:
        """A customer, by id or former key; None: nothing is known of them."""
