"""A health check of a service's tables: they are there, and the user may read them."""

import asyncpg

from touchline_runtime.database.faults import REFUSAL, UNREACHABLE
from touchline_runtime.errors import Unavailable

TABLES = """
-- A schema that the user may not use is not in the search path, so that it has no current schema.
SELECT
    to_regclass('alembic_version') IS NOT NULL AS found,
    ARRAY(
        SELECT tables.relname::text
        FROM pg_class AS tables
        JOIN pg_namespace AS schemas ON schemas.oid = tables.relnamespace
        WHERE schemas.nspname = current_schema()
          AND tables.relkind IN ('r', 'p')
          AND NOT has_table_privilege(tables.oid, 'SELECT')
        ORDER BY tables.relname
        LIMIT 5
    ) AS unreadable
"""


async def tables_answer(connections: asyncpg.Pool) -> None:
    """A health check: the server answers, and the service's tables can be read.

    Raises:
        Unavailable: they can't; the text says what to do.
    """
    try:
        row = await connections.fetchrow(TABLES, timeout=2)
    except UNREACHABLE as error:
        raise Unavailable(f"PostgreSQL does not answer: {error}") from None
    if row is None or not row["found"]:
        raise Unavailable(f"{REFUSAL} (no tables are found)")
    if row["unreadable"]:
        raise Unavailable(f"{REFUSAL} (no right to read {', '.join(row['unreadable'])})")
