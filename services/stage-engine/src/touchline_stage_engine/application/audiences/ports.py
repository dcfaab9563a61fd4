"""What the use cases of audiences need from the outside."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from touchline_runtime.audit.entry import AuditEntry

from touchline_stage_engine.application.audiences.values import (
    Described,
    Membership,
    Progress,
    Standing,
    StoredAudience,
)
from touchline_stage_engine.application.queries.values import Page
from touchline_stage_engine.core.audiences.audience import Audience


class AudienceTable(Protocol):
    """The members of audiences on one partition, through its owner's connection."""

    async def standings(self, audience: Audience, customers: Sequence[str]) -> list[Standing]:
        """These customers beside an audience, in order of id."""

    async def save(self, memberships: Sequence[Membership]) -> None:
        """Record members and former members."""

    async def count(self, audience: int, more: int, through: int) -> None:
        """Add to the number of members, which may be negative; note the instant by which spans were evaluated."""

    async def mark_evaluated(self, audience: int, version: int) -> None:
        """Every customer of the partition was evaluated by this version."""

    async def recorded(self, audience: int, limit: int) -> list[Membership]:
        """The next memberships of a deleted audience."""

    async def remove(self, audience: int, customers: Sequence[str]) -> None:
        """Delete memberships."""

    async def remove_progress(self, audience: int) -> None:
        """A deleted audience has no membership left."""

    async def memberships_of(self, customer_id: str) -> list[tuple[Described, Membership]]:
        """The memberships of a customer, former ones excluded, by audience id."""


class AudienceCandidates(Protocol):
    """Finds customers whose membership may have to change. Reads beside the folding, on connections of its own."""

    async def progress(self, partition: int) -> dict[int, Progress]:
        """Audience id → how far the partition has evaluated it; of deleted audiences too, until they are cleared."""

    async def customers_after(self, partition: int, customer_id: str, limit: int) -> list[str]:
        """The next customers of a partition by id."""

    async def standings(self, partition: int, audience: Audience, customers: Sequence[str]) -> list[Standing]:
        """Of these customers those whose record differs from the filter, or whose summary is out of date."""

    async def passed(self, partition: int, audience: Audience, since: int, until: int, limit: int) -> list[str]:
        """Customers for whom a span of the filter ended after one instant, at or before another; in no order."""


class AudienceTransaction(Protocol):
    """The audiences inside one transaction that excludes other writers."""

    async def find(self, name: str) -> StoredAudience | None:
        """The audience of a name, unless it is deleted."""

    async def count(self) -> int:
        """How many audiences there are."""

    async def add(self, name: str, title: str, description: str, wanted: Mapping[str, Any], author: str) -> None:
        """Add the next incarnation of a name."""

    async def change(
        self,
        audience: int,
        title: str,
        description: str,
        wanted: Mapping[str, Any],
        author: str,
    ) -> None:
        """Write the next version."""

    async def delete(self, audience: int) -> None:
        """Mark an audience as deleted: its members leave."""

    async def audit(self, entry: AuditEntry) -> None:
        """Add an entry to the audit log."""


class AudienceStore(Protocol):
    """The definitions of audiences.

    All methods raise `Interrupted` when the database does not answer.
    """

    def transaction(self) -> AbstractAsyncContextManager[AudienceTransaction]:
        """All or nothing."""

    async def to_evaluate(self) -> list[Audience]:
        """The audiences, and deleted ones that still have members, by id."""


class AudienceQueries(Protocol):
    """What the routes ask."""

    async def listed(self, limit: int, cursor: str | None) -> tuple[list[StoredAudience], str | None]:
        """A page of audiences by name, and the cursor of the next page."""

    async def find(self, name: str) -> StoredAudience | None:
        """One audience."""

    async def members(self, audience: int, limit: int, cursor: str | None) -> Page:
        """A page of members by id, with their summaries."""
