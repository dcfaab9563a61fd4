"""Recorded lifecycle definitions in PostgreSQL."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import asyncpg
from touchline_runtime.audit.entry import AuditEntry
from touchline_runtime.audit.postgres import append
from touchline_runtime.database.pools import exclusive_transaction

from touchline_stage_engine.adapters.postgres.faults import database_faults
from touchline_stage_engine.application.ports import DefinitionTable
from touchline_stage_engine.application.values import RunningVersion, StoredDefinition

# A version is recorded when it first runs. The first version of a lifecycle is in force for all time, a later one from
# its first start, unless the definition says otherwise.
RECORD_VERSION = """
INSERT INTO lifecycles (
    name, version, fingerprint, text, effective_from, started_at, origin, numbered, author, comment
)
SELECT $1, $2, $3, $4,
       coalesce($5, CASE WHEN EXISTS (SELECT FROM lifecycles WHERE name = $1 AND version < $2) THEN $6::bigint END),
       $6, $7, $8, $9, $10
ON CONFLICT (name, version) DO UPDATE SET origin = excluded.origin
WHERE lifecycles.origin <> excluded.origin
"""
VERSIONS_OF = """
SELECT name, version, fingerprint, text, effective_from, origin, running, numbered, author, comment
FROM lifecycles
WHERE name = ANY ($1::text[])
ORDER BY name, version
"""
PUBLISHED_NAMES = "SELECT DISTINCT name FROM lifecycles WHERE running AND origin = 'published' ORDER BY name"
STOP_PUBLISHED = "UPDATE lifecycles SET running = false WHERE name = $1 AND origin = 'published'"
# Two writers would number a version alike; readers do not wait.
EXCLUDE_WRITERS = "LOCK TABLE lifecycles IN SHARE ROW EXCLUSIVE MODE"
RUNNING = "SELECT name, version, effective_from, origin FROM lifecycles WHERE running ORDER BY name, version"
RUNNING_VERSIONS_OF = """
SELECT name, version, fingerprint, text, effective_from, origin, running, numbered, author, comment
FROM lifecycles
WHERE name = ANY ($1::text[]) AND running
ORDER BY name, version
"""
# A version runs where its lifecycle does, unless the files have gone back to an earlier one.
MARK_RUNNING = """
WITH wanted AS (
    SELECT l.name, l.version, coalesce(l.version <= newest.version, false) AS running
    FROM lifecycles l
    LEFT JOIN unnest($1::text[], $2::int[]) AS newest (name, version) ON newest.name = l.name
)
UPDATE lifecycles l
SET running = wanted.running
FROM wanted
WHERE l.name = wanted.name AND l.version = wanted.version AND l.running <> wanted.running
RETURNING l.name, l.version, l.running
"""
NOT_RUNNING = "SELECT name, version FROM lifecycles WHERE NOT running ORDER BY name, version"


class PostgresDefinitions:
    """Implements `ports.DefinitionStore`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[DefinitionTable]:
        async with exclusive_transaction(self._pool, EXCLUDE_WRITERS) as connection:
            yield _Table(connection)

    async def running(self) -> list[RunningVersion]:
        with database_faults():
            return [RunningVersion(*row) for row in await self._pool.fetch(RUNNING)]

    async def load(self, names: Sequence[str]) -> tuple[list[StoredDefinition], list[tuple[str, int]]]:
        with database_faults():
            rows = await self._pool.fetch(RUNNING_VERSIONS_OF, names)
            withdrawn = await self._pool.fetch(NOT_RUNNING)
        return [StoredDefinition(*row) for row in rows], [(row["name"], row["version"]) for row in withdrawn]


class _Table:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def add(self, definition: StoredDefinition, now: int) -> None:
        await self._connection.execute(
            RECORD_VERSION, definition.name, definition.version, definition.fingerprint, definition.text,
            definition.effective_from, now, definition.origin, definition.numbered, definition.author,
            definition.comment,
        )  # fmt: skip

    async def published(self) -> list[str]:
        return [row["name"] for row in await self._connection.fetch(PUBLISHED_NAMES)]

    async def versions_of(self, names: Sequence[str]) -> list[StoredDefinition]:
        return [StoredDefinition(*row) for row in await self._connection.fetch(VERSIONS_OF, names)]

    async def mark_running(self, newest: Mapping[str, int]) -> list[tuple[str, int, bool]]:
        rows = await self._connection.fetch(MARK_RUNNING, list(newest), list(newest.values()))
        return [(row["name"], row["version"], row["running"]) for row in rows]

    async def withdrawn(self) -> list[tuple[str, int]]:
        return [(row["name"], row["version"]) for row in await self._connection.fetch(NOT_RUNNING)]

    async def stop(self, name: str) -> None:
        await self._connection.execute(STOP_PUBLISHED, name)

    async def audit(self, entry: AuditEntry) -> None:
        await append(self._connection, entry)
