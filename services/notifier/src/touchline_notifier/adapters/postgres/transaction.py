"""Transactions of the notifier: the unit of work that use cases write through."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg

from touchline_notifier.adapters.kafka.topics import Inputs
from touchline_notifier.adapters.postgres import decision_statements as sql
from touchline_notifier.adapters.postgres import outbox
from touchline_notifier.adapters.postgres.actions import Actions
from touchline_notifier.adapters.postgres.customers import Customers
from touchline_notifier.adapters.postgres.delivery_statements import INSERT, delivery_rows
from touchline_notifier.adapters.postgres.outbox import Connection
from touchline_notifier.adapters.postgres.partitions.lease import acquire, fence
from touchline_notifier.adapters.postgres.plays.published import PostgresPublishedPlays
from touchline_notifier.adapters.postgres.sequences.runs import Runs
from touchline_notifier.application.ports import PartitionLease
from touchline_notifier.core.decisions.outbox_records import Outgoing
from touchline_notifier.core.delivery.subscriptions import Planned
from touchline_notifier.core.profiles.address_hashes import Hashes


class PostgresTransaction:
    """Implements :class:`~touchline_notifier.application.ports.Transaction`: the repositories on one connection.

    The caller begins and ends the transaction.

    Args:
        partitions: of customer-keyed topics.
    """

    def __init__(self, connection: Connection, hashes: Hashes, partitions: int) -> None:
        self._connection = connection
        self.runs = Runs(connection)
        self.customers = Customers(connection, hashes, partitions, self.runs)
        self.actions = Actions(connection, self.customers, self.runs)
        self.plays = PostgresPublishedPlays(connection)

    async def add_deliveries(self, partition: int, planned: Sequence[Planned], *, due: datetime, now: datetime) -> None:
        if planned:
            await self._connection.execute(INSERT, partition, delivery_rows(planned), due, now)

    async def append_outbox(self, partition: int, events: Sequence[Outgoing]) -> None:
        await outbox.append(self._connection, partition, events)


class PostgresDecisionStore:
    """Implements :class:`~touchline_notifier.application.ports.DecisionStore`."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        publishing: asyncpg.Connection,
        *,
        hashes: Hashes,
        partitions: int,
        inputs: Inputs,
    ) -> None:
        self._connection = connection
        self._publishing = publishing
        self._transaction = PostgresTransaction(connection, hashes, partitions)
        self._inputs = inputs
        self.actions = self._transaction.actions
        self.plays = self._transaction.plays

    async def acquire(self, partition: int) -> PartitionLease:
        return await acquire(self._connection, self._inputs, partition)

    @asynccontextmanager
    async def fenced_transaction(
        self, lease: PartitionLease, *, next_touchpoint: int | None = None, next_fact: int | None = None
    ) -> AsyncIterator[PostgresTransaction]:
        """A transaction that commits only while the lease is held, and moves its offsets with the commit.

        Raises:
            FencedError: another process owns the partition.
        """
        expected = lease.next_touchpoint, lease.next_fact
        new = (
            lease.next_touchpoint if next_touchpoint is None else next_touchpoint,
            lease.next_fact if next_fact is None else next_fact,
        )
        async with fence(lease).fenced_transaction(self._connection, expected, new):
            yield self._transaction
        lease.next_touchpoint, lease.next_fact = new

    async def next_touchpoints(self) -> dict[int, int]:
        rows = await self._connection.fetch(
            sql.TOUCHPOINTS_READ, self._inputs.stream, self._inputs.touchpoints_topic_id
        )
        return {row["partition"]: row["next_touchpoint"] for row in rows}

    async def save_read_through(self, reached: Sequence[tuple[int, int, datetime]]) -> None:
        columns = (list(column) for column in zip(*reached, strict=True))
        await self._connection.execute(sql.SAVE_READ_THROUGH, self._inputs.stream, *columns)

    async def partitions_to_publish(self, partitions: Sequence[int]) -> list[int]:
        if not partitions:
            return []
        rows = await self._publishing.fetch(outbox.FILLED, list(partitions))
        return [row["partition"] for row in rows]
