"""Metrics that are read from the database when /metrics is scraped.

Metrics of partitions cover the partitions that this process owns. Metrics of the whole database are exported by the
process that owns partition 0, so that a sum over all processes counts them once.
"""

from collections.abc import Callable, Iterable, Mapping

import asyncpg
from touchline_runtime.metrics import Metrics, Sampled
from touchline_runtime.scraping import Samples

from touchline_stage_engine import metrics as declared
from touchline_stage_engine.adapters.kafka.topics import Inputs

# Both look-ups read the first row of an index.
OF_PARTITIONS = """
SELECT owned.partition,
       greatest(0, extract(epoch FROM clock_timestamp()) - (
           SELECT min(wake_at) FROM customers c WHERE c.partition = owned.partition AND wake_at IS NOT NULL
       ) / 1e6)::float8 AS timers_late,
       extract(epoch FROM clock_timestamp() - (
           SELECT o.written_at
           FROM outbox o
           WHERE o.partition = owned.partition AND o.last_id > greatest(owned.relayed_through, p.relayed_through)
           ORDER BY o.last_id
           LIMIT 1
       ))::float8 AS outbox_age
FROM unnest($1::int[], $2::bigint[]) AS owned (partition, relayed_through)
LEFT JOIN partitions p ON p.cluster_id = $3 AND p.topic_id = $4 AND p.partition = owned.partition
"""

# From the index stages_by_entry alone.
CUSTOMERS_BY_STAGE = "SELECT lifecycle, stage, count(*) AS customers FROM stages GROUP BY lifecycle, stage"

STALLED_BY_STAGE = """
SELECT lifecycle, stage, count(*) AS customers FROM stages WHERE stalled_level > 0 GROUP BY lifecycle, stage
"""

DATABASE_BYTES = "SELECT pg_database_size(current_database())"

Owned = Callable[[], Mapping[int, int]]
"""Owned partition → the id of the last outbox record that is known to be published."""


class SampledMetrics:
    """The readers of one engine process.

    Args:
        stages: gives (lifecycle, stage) of the definitions in force: those without customers are exported as 0.
    """

    def __init__(
        self, pool: asyncpg.Pool, inputs: Inputs, owned: Owned, stages: Callable[[], Iterable[tuple[str, str]]]
    ) -> None:
        self._pool = pool
        self._key = (inputs.cluster_id, inputs.touchpoints_id)
        self._owned = owned
        self._stages = stages

    def install(self, metrics: Metrics) -> None:
        """Register the readers."""
        metrics.read_when_scraped(self.of_partitions)
        # On a large database the count takes seconds: a scrape does not wait for it, and it is repeated less often.
        metrics.read_when_scraped(self.of_database, at_least_seconds=60, at_most_seconds=60)

    async def of_partitions(self) -> dict[Sampled, Samples]:
        """Age of the outbox and lateness of timers, by partition."""
        owned = dict(self._owned())
        if not owned:
            return {}
        rows = await self._pool.fetch(OF_PARTITIONS, list(owned), list(owned.values()), *self._key)
        return {
            declared.OUTBOX_AGE_SECONDS: {(str(row["partition"]),): row["outbox_age"] or 0.0 for row in rows},
            declared.TIMERS_LATE_SECONDS: {(str(row["partition"]),): row["timers_late"] or 0.0 for row in rows},
        }

    async def of_database(self) -> dict[Sampled, Samples]:
        """Customers by stage, and the size of the database."""
        if 0 not in self._owned():
            return {}
        return {
            declared.CUSTOMERS: await self._by_stage(CUSTOMERS_BY_STAGE),
            declared.CUSTOMERS_STALLED: await self._by_stage(STALLED_BY_STAGE),
            declared.DATABASE_BYTES: {(): float(await self._pool.fetchval(DATABASE_BYTES))},
        }

    async def _by_stage(self, statement: str) -> Samples:
        rows = await self._pool.fetch(statement)
        found: dict[tuple[str, ...], float] = dict.fromkeys(sorted(self._stages()), 0.0)
        found |= {(row["lifecycle"], row["stage"]): float(row["customers"]) for row in rows}
        return found
