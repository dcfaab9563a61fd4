"""Definitions of audiences in PostgreSQL, and what people read of them."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import orjson
import structlog
from touchline_runtime.audit.entry import AuditEntry
from touchline_runtime.audit.postgres import append
from touchline_runtime.database.pools import exclusive_transaction

from touchline_stage_engine.adapters.postgres.faults import database_faults
from touchline_stage_engine.adapters.postgres.reads.pages import decode_cursor, encode_cursor, page_of
from touchline_stage_engine.adapters.postgres.reads.people import summary_of
from touchline_stage_engine.adapters.postgres.reads.statements import wire_time
from touchline_stage_engine.application.audiences.ports import AudienceTransaction
from touchline_stage_engine.application.audiences.values import StoredAudience
from touchline_stage_engine.application.queries.values import Page
from touchline_stage_engine.core.audiences.audience import Audience, FaultyAudienceError, read_filter

log = structlog.get_logger(__name__)

_COLUMNS = """
    a.id, a.name, a.incarnation, a.version, a.title, a.description, a.filter::text AS filter, a.author,
    CAST(extract(epoch FROM a.created_at) * 1000000 AS bigint) AS created_at,
    CAST(extract(epoch FROM a.changed_at) * 1000000 AS bigint) AS changed_at,
    (SELECT CAST(coalesce(sum(p.members), 0) AS bigint) FROM audience_progress p WHERE p.audience = a.id) AS members,
    (SELECT count(*) FROM audience_progress p WHERE p.audience = a.id AND p.version = a.version) AS evaluated
"""
FIND = f"SELECT {_COLUMNS} FROM audiences a WHERE a.name = $1 AND a.deleted_at IS NULL"  # noqa: S608
LISTED = f"""
SELECT {_COLUMNS}
FROM audiences a
WHERE a.deleted_at IS NULL AND a.name > $1
ORDER BY a.name
LIMIT $2
"""  # noqa: S608
COUNT = "SELECT count(*) FROM audiences WHERE deleted_at IS NULL"

ADD = """
INSERT INTO audiences (name, incarnation, version, title, description, filter, author)
SELECT $1, coalesce(max(incarnation), 0) + 1, 1, $2, $3, $4::jsonb, $5
FROM audiences
WHERE name = $1
"""
CHANGE = """
UPDATE audiences
SET version = version + 1, title = $2, description = $3, filter = $4::jsonb, author = $5, changed_at = clock_timestamp()
WHERE id = $1
"""
DELETE = "UPDATE audiences SET deleted_at = clock_timestamp() WHERE id = $1"
# Two writers would number a version alike; readers do not wait.
EXCLUDE_WRITERS = "LOCK TABLE audiences IN SHARE ROW EXCLUSIVE MODE"

TO_EVALUATE = """
SELECT a.id, a.name, a.incarnation, a.version, a.filter::text AS filter, a.deleted_at IS NOT NULL AS deleted
FROM audiences a
WHERE a.deleted_at IS NULL OR EXISTS (SELECT FROM audience_progress p WHERE p.audience = a.id)
ORDER BY a.id
"""

MEMBERS = """
SELECT m.customer_id AS member_id, m.changed_at, s.*
FROM (
    SELECT customer_id, changed_at
    FROM audience_members
    WHERE audience = $1 AND member AND customer_id > $2
    ORDER BY customer_id
    LIMIT $3
) AS m
LEFT JOIN customer_summaries s ON s.customer_id = m.customer_id
ORDER BY m.customer_id
"""


class PostgresAudienceStore:
    """Implements `ports.AudienceStore` and `ports.AudienceQueries`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AudienceTransaction]:
        async with exclusive_transaction(self._pool, EXCLUDE_WRITERS) as connection:
            yield _Transaction(connection)

    async def to_evaluate(self) -> list[Audience]:
        with database_faults():
            rows = await self._pool.fetch(TO_EVALUATE)
        found = []
        for row in rows:
            try:
                wanted = read_filter(orjson.loads(row["filter"]))
            except FaultyAudienceError as error:
                # A later version wrote a condition that this one does not know: it leaves the audience as it is.
                log.warning("audience_not_evaluated", audience=row["name"], error=str(error))
                continue
            found.append(Audience(row["id"], row["name"], row["incarnation"], row["version"], wanted, row["deleted"]))
        return found

    async def listed(self, limit: int, cursor: str | None) -> tuple[list[StoredAudience], str | None]:
        (after,) = decode_cursor(cursor, str) or ("",)
        with database_faults():
            found = [_stored(row) for row in await self._pool.fetch(LISTED, after, limit + 1)]
        return found[:limit], encode_cursor([found[limit - 1].name]) if len(found) > limit else None

    async def find(self, name: str) -> StoredAudience | None:
        with database_faults():
            row = await self._pool.fetchrow(FIND, name)
        return None if row is None else _stored(row)

    async def members(self, audience: int, limit: int, cursor: str | None) -> Page:
        (after,) = decode_cursor(cursor, str) or ("",)
        with database_faults():
            rows = await self._pool.fetch(MEMBERS, audience, after, limit + 1)
        return page_of([_member(row) for row in rows], limit, ("_id",))


class _Transaction:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def find(self, name: str) -> StoredAudience | None:
        row = await self._connection.fetchrow(FIND, name)
        return None if row is None else _stored(row)

    async def count(self) -> int:
        return int(await self._connection.fetchval(COUNT))

    async def add(self, name: str, title: str, description: str, wanted: Mapping[str, Any], author: str) -> None:
        await self._connection.execute(ADD, name, title, description, _json(wanted), author)

    async def change(
        self,
        audience: int,
        title: str,
        description: str,
        wanted: Mapping[str, Any],
        author: str,
    ) -> None:
        await self._connection.execute(CHANGE, audience, title, description, _json(wanted), author)

    async def delete(self, audience: int) -> None:
        await self._connection.execute(DELETE, audience)

    async def audit(self, entry: AuditEntry) -> None:
        await append(self._connection, entry)


def _json(value: Mapping[str, Any]) -> str:
    return orjson.dumps(value).decode()


def _stored(row: asyncpg.Record) -> StoredAudience:
    return StoredAudience(**{**dict(row), "filter": orjson.loads(row["filter"])})


def _member(row: asyncpg.Record) -> dict[str, Any]:
    """A member; one whose summary is being written has their id alone."""
    found = dict(row)
    found["customer_id"] = found.pop("member_id")
    since = wire_time(found.pop("changed_at"))
    if found["touchpoints"] is None:
        found |= {"traits": "{}", "touchpoints": 0, "value": 0.0, "purchases": 0}
    found["traits"] = orjson.loads(found["traits"])
    return summary_of(found) | {"member_since": since, "_id": found["customer_id"]}
