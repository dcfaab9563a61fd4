"""The database behind the unsubscribe links, with a time limit on every access."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import structlog
from touchline_runtime.database.faults import UNREACHABLE
from touchline_runtime.errors import Unavailable
from touchline_runtime.process.repeated_faults import FaultLog

from touchline_notifier.adapters.postgres import decision_statements as sql
from touchline_notifier.adapters.postgres.outbox import Connection
from touchline_notifier.adapters.postgres.transaction import PostgresTransaction
from touchline_notifier.core.profiles.address_hashes import Hashes
from touchline_notifier.core.unsubscribe.tokens import key_of

log = structlog.get_logger(__name__)

_TIMEOUT_SECONDS = 10.0


async def link_keys(pool: asyncpg.Pool, secrets: Sequence[str], stored: str) -> list[bytes]:
    """The keys of links in mails: first that of the first secret, or of the one stored in the database when there is
    none, which makes new links; then every other that ever made one.

    The keys of all secrets are stored, so that links outlive the setting: a secret that is set later, replaced or
    removed leaves every link that was sent working.
    """
    keys = [key_of(secret) for secret in (*secrets, stored)]
    await pool.execute(sql.KEEP_LINK_KEYS, keys)
    rows = await pool.fetch(sql.LINK_KEYS)
    return [*keys, *(bytes(row["key"]) for row in rows)]


class PostgresSubscriptionStore:
    """Implements :class:`~touchline_notifier.application.ports.SubscriptionStore`."""

    def __init__(self, pool: asyncpg.Pool, hashes: Hashes, partitions: int) -> None:
        self._pool = pool
        self._hashes = hashes
        self._partitions = partitions
        self._fault = FaultLog(log, "unsubscribe_not_recorded")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresTransaction]:
        """A transaction.

        Raises:
            Unavailable: the database does not answer in time.
        """
        async with self._connection() as connection, connection.transaction():
            yield PostgresTransaction(connection, self._hashes, self._partitions)

    async def link_keys(self) -> list[bytes]:
        """Keys of all unsubscribe links that were ever sent.

        Raises:
            Unavailable: the database does not answer in time.
        """
        async with self._connection() as connection:
            return [bytes(row["key"]) for row in await connection.fetch(sql.LINK_KEYS)]

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS), self._pool.acquire() as connection:
                yield connection
        except (*UNREACHABLE, asyncpg.PostgresError) as error:
            self._fault.failed(type(error).__name__)
            raise Unavailable("the database does not answer") from None
        self._fault.over()
