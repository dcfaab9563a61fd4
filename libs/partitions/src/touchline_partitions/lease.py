"""Partition leases in PostgreSQL: acquired by raising an epoch, checked by every transaction of the owner.

A lease has no time limit and is not renewed. It ends when another process acquires it. Every transaction of an owner
begins by moving the position, on the condition that the epoch is still the owner's and that the position is where the
owner left it. A successor raises the epoch, so a process that was frozen while it was replaced writes nothing.

The services have lease tables of their own. ``LeaseTable`` holds their statements; every statement takes the key of the
row first.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import structlog

from touchline_partitions.errors import FencedError

log = structlog.get_logger(__name__)

LOCK_TIMEOUT = "1s"
"""How long an acquisition waits for a lock on the row before it ends the backend of the present owner."""

# Exactly the backend that was recorded (its pid alone may belong to another process by now), and connections with the
# application name, where there is one.
TERMINATE_BACKENDS = """
SELECT pg_terminate_backend(pid, 2000)
FROM pg_stat_activity
WHERE datname = current_database()
  AND ((pid = $1 AND backend_start = $2) OR application_name = $3)
"""


@dataclass(frozen=True, slots=True)
class LeaseTable:
    """A service's statements on its lease table.

    Attributes:
        find_owner: key → ``backend_pid`` and ``backend_start`` of the present owner; no row: there was never an owner.
        add: key, claim → inserts the row of a partition without one; does nothing where there is one.
        claim: key, claim → raises ``epoch``, records the current backend, and returns the row.
        move: key, epoch, expected offsets, new offsets → moves the position; returns a row unless epoch or offsets
            differ.
    """

    find_owner: str
    add: str
    claim: str
    move: str


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write one partition's rows, until another process acquires it.

    Attributes:
        key: of the row in the lease table; the last column is the partition.
        epoch: the fencing token.
    """

    table: LeaseTable
    key: tuple[Any, ...]
    epoch: int

    @property
    def partition(self) -> int:
        """The partition's number."""
        number: int = self.key[-1]
        return number

    @asynccontextmanager
    async def fenced_transaction(
        self, connection: asyncpg.Connection, expected: Sequence[int], new: Sequence[int]
    ) -> AsyncIterator[None]:
        """A transaction that moves the position, and commits only while the lease is held.

        Args:
            expected: the offsets as the owner last wrote them.
            new: the offsets to write; equal to ``expected`` where nothing was read.

        Raises:
            FencedError: the lease was lost, or the stored position is not the expected one. Nothing is written.
        """
        async with connection.transaction():
            await self.fenced(connection, self.table.move, *expected, *new)
            yield

    async def fenced(self, connection: asyncpg.Connection, statement: str, *arguments: Any) -> Any:
        """Run a statement that takes key and epoch first and returns a row only while the lease is held.

        Returns:
            The first column of the row.

        Raises:
            FencedError: the lease was lost.
        """
        value = await connection.fetchval(statement, *self.key, self.epoch, *arguments)
        if value is None:
            raise FencedError(f"partition {self.partition} was taken by another process")
        return value


async def acquire(
    connection: asyncpg.Connection,
    table: LeaseTable,
    key: tuple[Any, ...],
    *claim: Any,
    application_name: Callable[[int], str] | None = None,
) -> tuple[Lease, asyncpg.Record]:
    """Take a partition from its present owner, if it has one.

    An owner that is frozen inside a transaction holds the row's lock, and only the end of its backend releases it: none
    of PostgreSQL's timeouts does. After ``LOCK_TIMEOUT`` exactly that backend is terminated.

    Args:
        claim: further arguments of the statements ``add`` and ``claim``.
        application_name: backend pid of the owner → the application name of a second connection that it writes with.

    Returns:
        The lease, and the row as it was claimed.
    """
    while True:
        owner = await connection.fetchrow(table.find_owner, *key)
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                if owner is None:
                    # Only then: an insert waits for the lock on an existing row, even where it would do nothing.
                    await connection.execute(table.add, *key, *claim)
                row = await connection.fetchrow(table.claim, *key, *claim)
        except asyncpg.LockNotAvailableError:
            owner = await connection.fetchrow(table.find_owner, *key)
            if owner is not None and (pid := owner["backend_pid"]) is not None:
                name = None if application_name is None else application_name(pid)
                await connection.execute(TERMINATE_BACKENDS, pid, owner["backend_start"], name)
                log.warning("frozen_owner_ended", partition=key[-1], backend_pid=pid)
            continue
        assert row is not None, "the row was added above and is never deleted"
        return Lease(table, key, row["epoch"]), row
