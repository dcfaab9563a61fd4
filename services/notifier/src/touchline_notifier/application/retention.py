"""Deletes finished actions and deliveries that are older than they are kept: some at a time, beside all other work."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol

from touchline_runtime.database.retention import AT_ONCE, delete_in_pieces, keep_deleting

from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.retention import actions_kept_from


class FinishedRows(Protocol):
    """What is over, in the database."""

    async def delete_deliveries(self, before: datetime, at_most: int) -> int:
        """Delete deliveries that ended before an instant, the oldest first; how many it were.

        Raises:
            Unavailable: PostgreSQL is away.
        """

    async def delete_runs(self, before: datetime, at_most: int) -> int:
        """Delete runs of sequences that ended before an instant.

        Raises:
            Unavailable: PostgreSQL is away.
        """

    async def delete_actions(self, before: datetime, at_most: int) -> int:
        """Delete actions that were last decided before an instant, and wait for nothing, with their deliveries.

        Raises:
            Unavailable: PostgreSQL is away.
        """


class Retention:
    """A component of the notifier's process. Several processes share the work.

    Args:
        deliveries_days, actions_days: how long each is kept; None: for ever.
        plays: those in force; actions that they look back to are kept.
    """

    name = "retention"

    def __init__(
        self, rows: FinishedRows, plays: Mapping[str, Play], deliveries_days: int | None, actions_days: int | None
    ) -> None:
        self._rows = rows
        self._plays = plays
        self._deliveries_days = deliveries_days
        self._actions_days = actions_days

    async def run(self, stopping: asyncio.Event) -> None:
        """Delete what is old every ten minutes, until told to stop."""
        await keep_deleting(lambda: self.delete_old(datetime.now(UTC), stopping), stopping)

    async def delete_old(self, now: datetime, stopping: asyncio.Event) -> None:
        """Delete everything that is old now, or as much as there is time for."""
        if self._deliveries_days is not None:
            before = now - timedelta(days=self._deliveries_days)
            await delete_in_pieces("deliveries", lambda: self._rows.delete_deliveries(before, AT_ONCE), stopping)
        if self._actions_days is not None:
            before_action = actions_kept_from(now, self._actions_days, self._plays.values())
            await delete_in_pieces("actions", lambda: self._rows.delete_actions(before_action, AT_ONCE), stopping)
            await delete_in_pieces("sequence_runs", lambda: self._rows.delete_runs(before_action, AT_ONCE), stopping)
