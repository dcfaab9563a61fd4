"""Published plays in PostgreSQL."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import asyncpg
from touchline_runtime.audit.entry import AuditEntry
from touchline_runtime.audit.postgres import append
from touchline_runtime.database.faults import UNREACHABLE
from touchline_runtime.database.pools import exclusive_transaction
from touchline_runtime.errors import Unavailable

from touchline_notifier.adapters.postgres.outbox import Connection
from touchline_notifier.application.plays.ports import PlayTable, PlayVersion, PublishedPlay

REVISION = "SELECT coalesce((SELECT value #>> '{}' FROM kept WHERE name = 'plays_revision')::bigint, 0)"

CHANGED = """
-- Every transaction of a notifier compares the number with that of the plays it knows.
INSERT INTO kept (name, value) VALUES ('plays_revision', '1')
ON CONFLICT (name) DO UPDATE SET value = to_jsonb((kept.value #>> '{}')::bigint + 1)
"""

ALL = """
SELECT p.play, p.version, coalesce(v.definition, '') AS definition, p.enabled
FROM published_plays p
LEFT JOIN play_versions v USING (play, version)
WHERE p.version IS NOT NULL OR NOT EXISTS (SELECT FROM play_files f WHERE f.play = p.play)
ORDER BY p.play
"""

STATE = """
SELECT p.play, p.version, coalesce(v.definition, '') AS definition, p.enabled
FROM published_plays p
LEFT JOIN play_versions v USING (play, version)
WHERE p.play = $1
"""

VERSIONS = """
SELECT v.play, v.version, v.definition, v.author, v.comment, v.published_at,
       v.version IS NOT DISTINCT FROM p.version AS in_force
FROM play_versions v
JOIN published_plays p USING (play)
WHERE v.play = $1
ORDER BY v.version DESC
"""

LAST_VERSION = "SELECT coalesce(max(version), 0) FROM play_versions WHERE play = $1"

AUTHOR = "SELECT author FROM play_versions WHERE play = $1 AND version = $2"

IN_FILES = "SELECT EXISTS (SELECT FROM play_files WHERE play = $1)"

ADD_VERSION = """
INSERT INTO play_versions (play, version, definition, author, comment, published_at)
VALUES ($1, $2, $3, $4, $5, $6)
"""

PUT_IN_FORCE = """
INSERT INTO published_plays (play, version) VALUES ($1, $2)
ON CONFLICT (play) DO UPDATE SET version = excluded.version
"""

SWITCH = "UPDATE published_plays SET enabled = $2 WHERE play = $1"

WITHDRAW = "UPDATE published_plays SET version = NULL, enabled = true WHERE play = $1"

REMOVE_FILES = "DELETE FROM play_files WHERE NOT play = ANY ($1::text[]) RETURNING play"

ADD_FILES = "INSERT INTO play_files (play) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING RETURNING play"

# Two writers would number a version alike; readers do not wait.
EXCLUDE_WRITERS = "LOCK TABLE published_plays IN SHARE ROW EXCLUSIVE MODE"


class PostgresPublishedPlays:
    """Implements :class:`~touchline_notifier.application.plays.ports.PublishedPlays` on a connection, or a pool.

    Every method raises ``Unavailable`` when the database does not answer.
    """

    def __init__(self, connection: Connection | asyncpg.Pool) -> None:
        self._connection = connection

    async def revision(self) -> int:
        with _database_faults():
            return int(await self._connection.fetchval(REVISION))

    async def all(self) -> list[PublishedPlay]:
        with _database_faults():
            return [PublishedPlay(*row) for row in await self._connection.fetch(ALL)]

    async def versions(self, play: str) -> list[PlayVersion]:
        with _database_faults():
            return [PlayVersion(*row) for row in await self._connection.fetch(VERSIONS, play)]


@contextmanager
def _database_faults() -> Iterator[None]:
    try:
        yield
    except (*UNREACHABLE, asyncpg.PostgresError) as error:
        raise Unavailable(f"{type(error).__name__}: {error}") from error


class PostgresPlayStore:
    """Implements :class:`~touchline_notifier.application.plays.ports.PlayStore`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self.published = PostgresPublishedPlays(pool)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PlayTable]:
        async with exclusive_transaction(self._pool, EXCLUDE_WRITERS) as connection:
            yield _Table(connection)


class _Table:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def state(self, play: str) -> PublishedPlay | None:
        row = await self._connection.fetchrow(STATE, play)
        return None if row is None else PublishedPlay(*row)

    async def last_version(self, play: str) -> int:
        return int(await self._connection.fetchval(LAST_VERSION, play))

    async def author(self, play: str, version: int) -> str | None:
        author: str | None = await self._connection.fetchval(AUTHOR, play, version)
        return author

    async def is_in_files(self, play: str) -> bool:
        return bool(await self._connection.fetchval(IN_FILES, play))

    async def add(self, version: PlayVersion) -> None:
        await self._connection.execute(
            ADD_VERSION, version.play, version.version, version.definition, version.author, version.comment,
            version.published_at,
        )  # fmt: skip
        await self._connection.execute(PUT_IN_FORCE, version.play, version.version)
        await self._connection.execute(CHANGED)

    async def switch(self, play: str, enabled: bool) -> None:
        await self._connection.execute(SWITCH, play, enabled)
        await self._connection.execute(CHANGED)

    async def withdraw(self, play: str) -> None:
        await self._connection.execute(WITHDRAW, play)
        await self._connection.execute(CHANGED)

    async def record_files(self, plays: Sequence[str]) -> None:
        removed = await self._connection.fetch(REMOVE_FILES, list(plays))
        added = await self._connection.fetch(ADD_FILES, list(plays))
        if removed or added:
            await self._connection.execute(CHANGED)

    async def audit(self, entry: AuditEntry) -> None:
        await append(self._connection, entry)
