"""The audit log in a service's PostgreSQL tables. The table `audit_log` is append-only: a trigger refuses the rest."""

from typing import Any

import asyncpg
import orjson

from touchline_runtime.audit.entry import AuditEntry

ADD_ENTRY = """
INSERT INTO audit_log (actor, role, action, target, before, after, reason, request_id)
VALUES ($1, $2, $3, $4, $5::jsonb, $6::jsonb, $7, $8)
"""

# Newest first. Every filter is optional.
ENTRIES = """
SELECT id, at, actor, role, action, target, before::text AS before, after::text AS after, reason, request_id
FROM audit_log
WHERE ($1::bigint IS NULL OR id < $1)
  AND ($2::text IS NULL OR actor = $2)
  AND ($3::text IS NULL OR action = $3)
  AND ($4::text IS NULL OR target = $4)
  AND ($5::timestamptz IS NULL OR at >= $5)
  AND ($6::timestamptz IS NULL OR at < $6)
ORDER BY id DESC
LIMIT $7
"""


async def append(connection: Any, entry: AuditEntry) -> None:
    """Add an entry, in the transaction of the change it is about. ``connection`` is asyncpg's, or its pool."""
    await connection.execute(
        ADD_ENTRY, entry.actor.name, entry.actor.role, entry.action, entry.target, _json(entry.before),
        _json(entry.after), entry.reason, entry.actor.request_id,
    )  # fmt: skip


def _json(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


class PostgresAuditLog:
    """Reads a service's audit log; implements `routes.AuditLog`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def entries(
        self,
        *,
        before_id: int | None = None,
        actor: str | None = None,
        action: str | None = None,
        target: str | None = None,
        since: Any = None,
        until: Any = None,
        limit: int,
    ) -> list[dict[str, Any]]:
        """The newest entries before an id, newest first."""
        rows = await self._pool.fetch(ENTRIES, before_id, actor, action, target, since, until, limit)
        return [
            dict(row)
            | {
                "before": None if row["before"] is None else orjson.loads(row["before"]),
                "after": None if row["after"] is None else orjson.loads(row["after"]),
            }
            for row in rows
        ]
