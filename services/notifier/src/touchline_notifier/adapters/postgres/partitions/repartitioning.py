"""Files rows under another number of partitions, once the topics have it (``touchline-stage-engine repartition``).

The database remembers the number that its rows are filed by. A notifier that finds another number on the topics files
the rows again before it takes a partition.
"""

from collections.abc import Mapping

import asyncpg
import structlog
from touchline_runtime.database import pools as database
from touchline_schemas.partitions import partition_of

from touchline_notifier.settings import NotifierSettings

log = structlog.get_logger(__name__)

REMEMBERED = "SELECT (value #>> '{}')::int FROM kept WHERE name = 'partitions'"

REMEMBER_FIRST = """
-- The rows are filed by the number of the first notifier that says one.
INSERT INTO kept (name, value)
VALUES ('partitions', to_jsonb($1::int))
ON CONFLICT (name) DO UPDATE SET value = kept.value
RETURNING (value #>> '{}')::int
"""

REMEMBER = "UPDATE kept SET value = to_jsonb($1::int) WHERE name = 'partitions'"

NEW_PARTITIONS = """
CREATE TEMPORARY TABLE new_partitions (
    key        text    PRIMARY KEY,
    partition  integer NOT NULL
) ON COMMIT DROP
"""

KEYS = """
SELECT customer_id AS key FROM actions
UNION SELECT customer_id FROM deliveries
UNION SELECT key FROM outbox
"""

REFILE: Mapping[str, str] = {
    "actions": """
        UPDATE actions t SET partition = n.partition FROM new_partitions n
        WHERE t.customer_id = n.key AND t.partition <> n.partition
    """,
    "deliveries": """
        UPDATE deliveries t SET partition = n.partition FROM new_partitions n
        WHERE t.customer_id = n.key AND t.partition <> n.partition
    """,
    # Each partition's publisher counts for itself.
    "outbox": """
        UPDATE outbox t SET partition = n.partition, publish_no = NULL FROM new_partitions n
        WHERE t.key = n.key
    """,
}
"""Tables whose rows are on the partition of a key."""

# Whoever owned a partition by the former number can write no more.
POSITIONS = (
    "UPDATE positions SET epoch = epoch + 1",
    "DELETE FROM positions WHERE partition >= $1::int",
)

_KEYS_AT_ONCE = 10_000


async def refile(pool: asyncpg.Pool, settings: NotifierSettings) -> None:
    """File the rows by the number of partitions that the topics have, if they are filed by another.

    Args:
        settings: their ``partitions`` are those of the topics.
    """
    if await pool.fetchval(REMEMBERED) == settings.partitions:
        return
    # Statements over whole tables may take as long as they need.
    async with (
        database.pool(
            settings, application_name="touchline-notifier-repartition", size=1, search_path=settings.search_path,
            limited=False,
        ) as unlimited,
        unlimited.acquire() as connection,
        connection.transaction(),
    ):  # fmt: skip
        # Locks the row: of several notifiers that start, one files.
        before = await connection.fetchval(REMEMBER_FIRST, settings.partitions)
        if before == settings.partitions:
            return
        await connection.execute("LOCK TABLE positions, actions, deliveries, outbox IN SHARE ROW EXCLUSIVE MODE")
        await connection.execute(NEW_PARTITIONS)
        cursor = await connection.cursor(KEYS)
        while found := await cursor.fetch(_KEYS_AT_ONCE):
            await connection.copy_records_to_table(
                "new_partitions", records=[(row["key"], partition_of(row["key"], settings.partitions)) for row in found]
            )
        await connection.execute("ANALYZE new_partitions")
        rows = {}
        for table, statement in REFILE.items():
            # "UPDATE 3"
            rows[table] = int((await connection.execute(statement)).rpartition(" ")[2])
        raise_epochs, forget = POSITIONS
        await connection.execute(raise_epochs)
        await connection.execute(forget, settings.partitions)
        await connection.execute(REMEMBER, settings.partitions)
    log.info("rows_filed_by_new_partitions", before=before, partitions=settings.partitions, **rows)
