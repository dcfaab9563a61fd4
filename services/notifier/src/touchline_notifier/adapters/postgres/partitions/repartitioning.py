"""Files rows under another number of partitions, once the topics have it (``touchline-stage-engine repartition``).

The database remembers the number that its rows are filed by. A notifier that finds another number on the topics files
the rows again before it takes a partition.
"""

from collections.abc import Mapping
from functools import partial

import asyncpg
import structlog
from touchline_partitions.filing import file_by_key
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

FILED_BY: Mapping[str, str] = {
    "actions": "customer_id", "sequence_runs": "customer_id", "deliveries": "customer_id", "outbox": "key",
}  # fmt: skip
"""Table → the column with the key whose partition its rows are on."""

# Each partition's publisher counts for itself.
NUMBER_AGAIN = "UPDATE outbox SET publish_no = NULL"

# The owners of partitions by the former number can write no more.
RAISE_EPOCHS = "UPDATE positions SET epoch = epoch + 1"
FORGET_PARTITIONS = "DELETE FROM positions WHERE partition >= $1::int"
# The topic was created again: it is read from its beginning. Deliveries that were planned are known by their ids.
FORGET_AUDIENCE_POSITIONS = "DELETE FROM audience_positions"


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
        await connection.execute(
            "LOCK TABLE positions, actions, sequence_runs, deliveries, outbox IN SHARE ROW EXCLUSIVE MODE"
        )
        rows = await file_by_key(connection, FILED_BY, partial(partition_of, partitions=settings.partitions))
        await connection.execute(NUMBER_AGAIN)
        await connection.execute(RAISE_EPOCHS)
        await connection.execute(FORGET_PARTITIONS, settings.partitions)
        await connection.execute(FORGET_AUDIENCE_POSITIONS)
        await connection.execute(REMEMBER, settings.partitions)
    log.info("rows_filed_by_new_partitions", before=before, partitions=settings.partitions, **rows)
