"""Figures that are read from the database when /metrics is scraped.

Actions are those of the partitions that this process owns. The outbox and the deliveries belong to no process: all of
them show the same figures.
"""

from collections.abc import Callable, Collection
from typing import get_args

import asyncpg
from touchline_runtime.metrics import Metrics, Sampled
from touchline_runtime.scraping import Samples

from touchline_notifier import metrics as declared
from touchline_notifier.core.decisions.hold_reasons import TemporaryHoldCode, codes_of
from touchline_notifier.core.delivery.breaker import State

REMOVED = "removed"
"""The label of endpoints that left the endpoints file: their names would be an open set."""

# Of every partition: while Kafka is away no process owns one, and the outbox fills. Both look-ups stop early, so that a
# backlog of millions is not read at every scrape.
OUTBOX = """
SELECT every.partition,
       (
           SELECT count(*) FROM (SELECT FROM outbox o WHERE o.partition = every.partition LIMIT 100000) AS counted
       ) AS waiting,
       extract(epoch FROM clock_timestamp() - (
           SELECT o.written_at FROM outbox o WHERE o.partition = every.partition ORDER BY o.id LIMIT 1
       ))::float8 AS age
FROM generate_series(0, $1::int - 1) AS every (partition)
"""

ACTIONS_WAITING = """
SELECT reason_code, count(*) AS actions
FROM actions
WHERE partition = ANY ($1::int[]) AND decide_at IS NOT NULL
GROUP BY reason_code
"""

ACTIONS_OVERDUE = """
SELECT coalesce(greatest(0, extract(epoch FROM clock_timestamp() - least(
    (
        SELECT min(decide_at)
        FROM actions
        WHERE partition = ANY ($1::int[]) AND decide_at IS NOT NULL AND reason_code IS DISTINCT FROM 'sending_off'
    ),
    (SELECT min(wake_at) FROM sequence_runs WHERE partition = ANY ($1::int[]) AND wake_at IS NOT NULL)
))), 0)::float8
"""

RUNS = """
SELECT play, count(*) AS runs
FROM sequence_runs
WHERE partition = ANY ($1::int[]) AND ended_at IS NULL
GROUP BY play
"""

DELIVERIES = """
SELECT endpoint, count(*) AS pending,
       greatest(0, extract(epoch FROM clock_timestamp() - min(next_attempt_at)))::float8 AS overdue
FROM deliveries
WHERE status IN ('pending', 'delivering')
GROUP BY endpoint
"""

BREAKERS = """
SELECT endpoint, CASE WHEN disabled_at IS NOT NULL THEN 'disabled' ELSE breaker END AS state
FROM endpoint_state
WHERE endpoint = ANY ($1)
"""


class SampledMetrics:
    """The readers of a notifier's process.

    Args:
        partitions: how many there are.
        owned: the partitions that this process owns now.
        endpoints: names in the endpoints file; filled when it has been read.
    """

    def __init__(
        self, pool: asyncpg.Pool, partitions: int, owned: Callable[[], Collection[int]], endpoints: Collection[str]
    ) -> None:
        self._partitions = partitions
        self._pool = pool
        self._owned = owned
        self._endpoints = endpoints

    def install(self, metrics: Metrics) -> None:
        """Register the readers, to run when /metrics is scraped."""
        metrics.read_when_scraped(self.of_outbox)
        metrics.read_when_scraped(self.of_actions)
        metrics.read_when_scraped(self.of_deliveries)
        metrics.read_when_scraped(self.of_breakers)

    async def of_outbox(self) -> dict[Sampled, Samples]:
        """What waits to be published, by partition."""
        rows = await self._pool.fetch(OUTBOX, self._partitions)
        return {
            declared.OUTBOX_WAITING: {(str(row["partition"]),): float(row["waiting"]) for row in rows},
            declared.OUTBOX_AGE_SECONDS: {(str(row["partition"]),): row["age"] or 0.0 for row in rows},
        }

    async def of_actions(self) -> dict[Sampled, Samples]:
        """What waits to be decided again. What is overdue is read of all partitions: nobody may own one of them."""
        overdue = float(await self._pool.fetchval(ACTIONS_OVERDUE, list(range(self._partitions))))
        owned = sorted(self._owned())
        if not owned:
            return {declared.ACTIONS_OVERDUE_SECONDS: {(): overdue}}
        waiting: dict[tuple[str, ...], float] = {(code,): 0.0 for code in codes_of(TemporaryHoldCode)}
        for row in await self._pool.fetch(ACTIONS_WAITING, owned):
            waiting[(row["reason_code"] or "",)] = float(row["actions"])
        runs: Samples = {(row["play"],): float(row["runs"]) for row in await self._pool.fetch(RUNS, owned)}
        return {
            declared.ACTIONS_WAITING: waiting,
            declared.ACTIONS_OVERDUE_SECONDS: {(): overdue},
            declared.SEQUENCE_RUNS: runs,
        }

    async def of_deliveries(self) -> dict[Sampled, Samples]:
        """What waits to be delivered, by endpoint."""
        pending: dict[tuple[str, ...], float] = {(name,): 0.0 for name in self._endpoints}
        overdue = dict(pending)
        for row in await self._pool.fetch(DELIVERIES):
            label = (row["endpoint"] if row["endpoint"] in self._endpoints else REMOVED,)
            pending[label] = pending.get(label, 0.0) + row["pending"]
            overdue[label] = max(overdue.get(label, 0.0), row["overdue"])
        return {declared.DELIVERIES_PENDING: pending, declared.DELIVERIES_OVERDUE_SECONDS: overdue}

    async def of_breakers(self) -> dict[Sampled, Samples]:
        """The breakers' states, by endpoint."""
        states = dict.fromkeys(self._endpoints, "closed")
        states |= {row["endpoint"]: row["state"] for row in await self._pool.fetch(BREAKERS, list(self._endpoints))}
        return {
            declared.ENDPOINT_BREAKER: {
                (endpoint, state): float(state == now) for endpoint, now in states.items() for state in get_args(State)
            }
        }
