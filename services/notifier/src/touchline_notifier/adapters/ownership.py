"""Owning a partition: claimed in the database, so that whoever was replaced can't write, whatever Kafka believes."""

from dataclasses import dataclass

import asyncpg
import structlog

from touchline_notifier.adapters import decision_sql as sql

log = structlog.get_logger(__name__)


class NotTheOwnerError(Exception):
    """Somebody else claimed the partition: let it go. Nothing of this transaction was written."""


@dataclass(slots=True)
class Owned:
    """A partition that this process owns.

    Attributes:
        next_touchpoint, next_fact: offsets to read on at, as last written.
        last_publish_no: the outbox's, as of the claim.
    """

    stream: str
    partition: int
    epoch: int
    next_touchpoint: int
    next_fact: int
    last_publish_no: int


def relay_name(owner_pid: int) -> str:
    """The application name of a relay's connection, by which whoever takes its owner's partitions finds it."""
    return f"touchline-notifier-relay-of-{owner_pid}"


async def claim(connection: asyncpg.Connection, stream: str, partition: int) -> Owned:
    """Take a partition over.

    An owner that was stopped in the middle of a transaction, its relay's too, holds the row's lock, and none of
    PostgreSQL's timeouts frees that soon: then exactly its backends are ended.
    """
    while True:
        try:
            async with connection.transaction():
                await connection.execute("SET LOCAL lock_timeout = '1s'")
                row = await connection.fetchrow(sql.CLAIM, stream, partition)
        except asyncpg.LockNotAvailableError:
            owner = await connection.fetchrow(sql.OWNER, stream, partition)
            if owner is not None and owner["owner_pid"] is not None:
                log.warning("owner_ended", partition=partition, pid=owner["owner_pid"])
                pid, started = owner["owner_pid"], owner["owner_started"]
                await connection.execute(sql.END_OWNER, pid, started, relay_name(pid))
            continue
        assert row is not None, "INSERT … ON CONFLICT DO UPDATE returns a row"
        return Owned(stream, partition, row["epoch"], row["next_touchpoint"], row["next_fact"], row["last_publish_no"])


async def advance(connection: asyncpg.Connection, owned: Owned, next_touchpoint: int, next_fact: int) -> None:
    """The first statement of every transaction that writes: prove ownership and move the position.

    ``owned`` itself is not changed: the caller does that once the transaction is committed.

    Raises:
        NotTheOwnerError: roll back.
    """
    moved = await connection.fetchval(
        sql.ADVANCE,
        owned.stream,
        owned.partition,
        owned.epoch,
        next_touchpoint,
        next_fact,
        owned.next_touchpoint,
        owned.next_fact,
    )
    if moved is None:
        raise NotTheOwnerError(f"partition {owned.partition} has another owner")
