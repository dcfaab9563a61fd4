"""How far every partition has been folded and published, in PostgreSQL."""

from collections.abc import Mapping

import asyncpg

from touchline_stage_engine.adapters.postgres.faults import database_faults

SAVE_CATCH_UPS = """
INSERT INTO catch_ups (cluster_id, topic_id, partition, flushed_at)
SELECT $1, $2, *
FROM unnest($3::int[], $4::bigint[])
ON CONFLICT (cluster_id, topic_id, partition) DO UPDATE SET flushed_at = excluded.flushed_at
WHERE catch_ups.flushed_at < excluded.flushed_at
"""

CATCH_UPS = "SELECT partition, flushed_at FROM catch_ups WHERE cluster_id = $1 AND topic_id = $2"


class PostgresCatchUps:
    """Implements `ports.CatchUpTable`."""

    def __init__(self, pool: asyncpg.Pool, cluster_id: str, topic_id: str) -> None:
        self._pool = pool
        self._topic = (cluster_id, topic_id)

    async def save(self, flushed: Mapping[int, int]) -> None:
        partitions = sorted(flushed)
        with database_faults():
            await self._pool.execute(
                SAVE_CATCH_UPS, *self._topic, partitions, [flushed[partition] for partition in partitions]
            )

    async def load(self) -> Mapping[int, int]:
        with database_faults():
            rows = await self._pool.fetch(CATCH_UPS, *self._topic)
        return {row["partition"]: row["flushed_at"] for row in rows}
