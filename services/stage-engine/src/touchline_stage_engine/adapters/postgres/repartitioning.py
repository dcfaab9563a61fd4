"""The tables of a deployment, filed under another number of partitions in one transaction."""

from collections.abc import Mapping
from functools import partial

import asyncpg
from touchline_partitions.filing import file_by_key
from touchline_runtime.errors import ConfigurationError
from touchline_schemas.partitions import partition_of

from touchline_stage_engine.application.repartition import Filing, InputIds, StoredPosition

FILING = "SELECT partitions, repartitioning FROM deployment"

OWNERS = """
SELECT array_agg(DISTINCT p.owner)
FROM partitions p
JOIN pg_stat_activity a ON a.pid = p.backend_pid AND a.backend_start = p.backend_start
"""

POSITIONS = """
SELECT
    partition, next_offset, CASE WHEN identity_topic_id = $3 THEN identity_offset ELSE 0 END, last_outbox_id,
    relayed_through
FROM partitions
WHERE cluster_id = $1 AND topic_id = $2
"""

BEGIN = "UPDATE deployment SET repartitioning = $1"

# No owner can write any more: the fence finds no row.
LOCK = "LOCK TABLE partitions, customers, outbox IN ACCESS EXCLUSIVE MODE"

FILED_BY: Mapping[str, str] = {
    "customers": "customer_id",
    "stages": "customer_id",
    "links": "key",
    "shared_keys": "key",
    "audience_members": "customer_id",
}
"""Table → the column with the key whose partition its rows are on."""

# Every customer of the new partitions is evaluated again; spans that have ended stay so.
AUDIENCE_PROGRESS = """
WITH before AS (
    DELETE FROM audience_progress RETURNING *
), members AS (
    SELECT partition, audience, count(*) AS number
    FROM audience_members
    WHERE member
    GROUP BY partition, audience
)
INSERT INTO audience_progress (partition, audience, members, through)
SELECT p, b.audience, coalesce(max(m.number), 0), max(b.through)
FROM before b
CROSS JOIN generate_series(0, $1::int - 1) AS p
LEFT JOIN members m ON m.partition = p AND m.audience = b.audience
GROUP BY p, b.audience
"""

# Erased keys are known by their hash alone, and nobody can say which partition a hash is on. So each partition gets all
# of them: an owner looks only for its own keys.
ERASURES = """
WITH before AS (
    DELETE FROM erasures RETURNING *
)
INSERT INTO erasures (partition, key_hash, erased_at, incarnation, merges)
SELECT p, key_hash, max(erased_at), max(incarnation), max(merges)
FROM before, generate_series(0, $1::int - 1) AS p
GROUP BY p, key_hash
"""

# Outcomes are found by their hash; their partition's owner deletes old ones. Where there are fewer partitions now,
# those of partitions that are gone get an owner.
OUTCOMES = """
WITH before AS (
    DELETE FROM touchpoint_outcomes
    WHERE (hash, outcome) IN (SELECT hash, outcome FROM touchpoint_outcomes WHERE partition >= $1::int)
    RETURNING *
)
INSERT INTO touchpoint_outcomes (hash, outcome, partition, times, at, reason, fields, origin)
SELECT DISTINCT ON (hash, outcome, partition % $1::int)
    hash, outcome, partition % $1::int, sum(times) OVER (PARTITION BY hash, outcome, partition % $1::int), at, reason,
    fields, origin
FROM before
ORDER BY hash, outcome, partition % $1::int, at DESC
"""

# What rises for ever goes on from the highest, so that no id names two facts. The totals go to the first partition.
# Where the partitions were not all folded under one generation, the new ones look at every customer again.
POSITIONS_ANEW = """
WITH before AS (
    DELETE FROM partitions RETURNING *
), all_of_them AS (
    SELECT
        max(last_outbox_id) AS last_outbox_id, max(rebuilds) AS rebuilds, max(era) AS era,
        CASE WHEN count(DISTINCT generation) = 1 THEN max(generation) ELSE 0 END AS generation,
        sum(duplicates) AS duplicates, sum(conflicts) AS conflicts, sum(dead_letters) AS dead_letters,
        sum(erased) AS erased, sum(folded) AS folded
    FROM before
)
INSERT INTO partitions (
    cluster_id, topic_id, identity_topic_id, partition, next_offset, identity_offset, last_outbox_id, relayed_through,
    rebuilds, generation, era, duplicates, conflicts, dead_letters, erased, folded
)
SELECT
    $1, $2, $3, p.partition, p.next_offset, 0, a.last_outbox_id, a.last_outbox_id, a.rebuilds, a.generation, a.era,
    CASE p.partition WHEN 0 THEN a.duplicates ELSE 0 END, CASE p.partition WHEN 0 THEN a.conflicts ELSE 0 END,
    CASE p.partition WHEN 0 THEN a.dead_letters ELSE 0 END, CASE p.partition WHEN 0 THEN a.erased ELSE 0 END,
    CASE p.partition WHEN 0 THEN a.folded ELSE 0 END
FROM unnest($4::int[], $5::bigint[]) AS p (partition, next_offset)
CROSS JOIN all_of_them a
"""

COMPLETE = "UPDATE deployment SET partitions = $1, repartitioning = NULL"


class PostgresRepartitionTables:
    """Implements `repartition.RepartitionTables`. Its statements may take as long as they need.

    Args:
        pool: connections without time limits.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def filing(self) -> Filing | None:
        row = await self._pool.fetchrow(FILING)
        return None if row is None else Filing(*row)

    async def positions(self, inputs: InputIds) -> dict[int, StoredPosition]:
        owners = await self._pool.fetchval(OWNERS)
        if owners:
            raise ConfigurationError(f"engines still hold partitions: stop {', '.join(map(str, owners))} first")
        rows = await self._pool.fetch(POSITIONS, *inputs)
        return {partition: StoredPosition(*position) for partition, *position in rows}

    async def begin(self, target: int) -> None:
        await self._pool.execute(BEGIN, target)

    async def refile(self, target: int, inputs: InputIds, ends: Mapping[int, int]) -> dict[str, int]:
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(LOCK)
            rows = await file_by_key(connection, FILED_BY, partial(partition_of, partitions=target))
            for statement in (AUDIENCE_PROGRESS, ERASURES, OUTCOMES):
                await connection.execute(statement, target)
            # Everything in the outbox has been published. Limits of shared keys are applied again, catch-ups noted.
            await connection.execute("TRUNCATE outbox, catch_ups, shared_key_limits")
            await connection.execute(POSITIONS_ANEW, *inputs, list(ends), list(ends.values()))
            await connection.execute(COMPLETE, target)
            return rows
