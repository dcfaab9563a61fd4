"""Finds customers whose membership may have to change. Reads beside the folding, over a shared pool."""

from collections.abc import Sequence

import asyncpg

from touchline_stage_engine.adapters.postgres.audiences.standings import DIFFERING, standing_of, statement_of
from touchline_stage_engine.adapters.postgres.faults import database_faults
from touchline_stage_engine.application.audiences.values import Progress, Standing
from touchline_stage_engine.core.audiences.audience import Audience
from touchline_stage_engine.core.audiences.customer_filter import SLIPPED_WITHIN

PROGRESS = "SELECT audience, version, through FROM audience_progress WHERE partition = $1"

CUSTOMERS_AFTER = """
SELECT customer_id
FROM customers
WHERE partition = $1 AND customer_id > $2
ORDER BY customer_id
LIMIT $3
"""

# Customers of a partition for whom a span ended: $2 < the instant it began at <= $3. Each begins at an index.
_OF_PARTITION = "JOIN customers c ON c.partition = $1 AND c.customer_id = found.customer_id LIMIT $4"
PASSED_IN_STAGE = f"""
SELECT found.customer_id
FROM (
    SELECT st.customer_id
    FROM stages st
    WHERE st.lifecycle = ANY ($5::text[])
      AND st.entered_at > $2 AND st.entered_at <= $3
) AS found
{_OF_PARTITION}
"""  # noqa: S608
PASSED_IN_ONE_STAGE = PASSED_IN_STAGE.replace("($5::text[])", "($5::text[]) AND st.stage = $6")
PASSED_SINCE_ACTIVITY = f"""
SELECT found.customer_id
FROM (
    SELECT s.customer_id
    FROM customer_summaries s
    WHERE coalesce(s.active_at, 0) > $2 AND coalesce(s.active_at, 0) <= $3
) AS found
{_OF_PARTITION}
"""  # noqa: S608
PASSED_SINCE_BACKWARD_MOVE = f"""
SELECT found.customer_id
FROM (
    SELECT DISTINCT h.customer_id
    FROM history h
    WHERE h.lifecycle = ANY ($5::text[]) AND h.move IN ('regress', 'lapse')
      AND h.occurred_at >= $2 AND h.occurred_at <= $3
) AS found
{_OF_PARTITION}
"""  # noqa: S608
RUNNING = "SELECT DISTINCT name FROM lifecycles WHERE running"


class PostgresAudienceCandidates:
    """Implements `ports.AudienceCandidates`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def progress(self, partition: int) -> dict[int, Progress]:
        with database_faults():
            rows = await self._pool.fetch(PROGRESS, partition)
        return {row["audience"]: Progress(row["version"], row["through"]) for row in rows}

    async def customers_after(self, partition: int, customer_id: str, limit: int) -> list[str]:
        with database_faults():
            rows = await self._pool.fetch(CUSTOMERS_AFTER, partition, customer_id, limit)
        return [row["customer_id"] for row in rows]

    async def standings(self, partition: int, audience: Audience, customers: Sequence[str]) -> list[Standing]:
        statement, arguments = statement_of(DIFFERING, partition, audience, customers)
        with database_faults():
            rows = await self._pool.fetch(statement, *arguments)
        return [standing_of(row) for row in rows]

    async def passed(self, partition: int, audience: Audience, since: int, until: int, limit: int) -> list[str]:
        wanted = audience.filter
        found: set[str] = set()
        with database_faults():
            lifecycles = [wanted.lifecycle]
            if wanted.lifecycle is None:
                lifecycles = [row["name"] for row in await self._pool.fetch(RUNNING)]
            for span in (wanted.entered_within, wanted.in_stage_for):
                if span is not None:
                    statement = PASSED_IN_STAGE if wanted.stage is None else PASSED_IN_ONE_STAGE
                    of_stage = [] if wanted.stage is None else [wanted.stage]
                    arguments = (partition, since - span, until - span, limit, lifecycles, *of_stage)
                    found |= {row["customer_id"] for row in await self._pool.fetch(statement, *arguments)}
            for span in (wanted.seen_within, wanted.not_seen_for):
                if span is not None:
                    arguments_of_activity = (partition, since - span, until - span, limit)
                    rows = await self._pool.fetch(PASSED_SINCE_ACTIVITY, *arguments_of_activity)
                    found |= {row["customer_id"] for row in rows}
            if wanted.at_risk:
                begins = (since - SLIPPED_WITHIN, until - SLIPPED_WITHIN)
                rows = await self._pool.fetch(PASSED_SINCE_BACKWARD_MOVE, partition, *begins, limit, lifecycles)
                found |= {row["customer_id"] for row in rows}
        return list(found)
