"""Simulations in PostgreSQL: asked for, running, and finished."""

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
from touchline_schemas.times import to_wire

from touchline_stage_engine.application.simulations import (
    CANCELLED,
    FAILED,
    RUNNING,
    CancelledError,
    Progress,
    SimulatedChange,
    SimulationOrder,
)

EXAMPLES = 20
_REPORT_EVERY = 0.5
_ALIVE_SECONDS = 30
_START_SECONDS = 90
_KEPT = 50

# A process may take long to start on a busy machine.
ADD = """
INSERT INTO simulations (id, lifecycle, author, request, alive_at)
VALUES ($1, $2, $3, $4::jsonb, clock_timestamp() + make_interval(secs => $5))
"""
TRIM = """
DELETE FROM simulations
WHERE state <> 'running' AND id NOT IN (SELECT id FROM simulations ORDER BY created_at DESC LIMIT $1)
"""
RUNNING_NOW = """
SELECT count(*) FROM simulations WHERE state = 'running' AND alive_at > clock_timestamp() - make_interval(secs => $1)
"""
# A process that has written nothing for so long has ended.
FIND = """
SELECT id, lifecycle, author, request::text AS request, progress::text AS progress, result::text AS result, error,
       created_at, finished_at,
       CASE
           WHEN state = 'running' AND alive_at < clock_timestamp() - make_interval(secs => $2) THEN 'lost'
           ELSE state
       END AS state
FROM simulations
WHERE id = $1
"""
CANCEL = """
UPDATE simulations SET state = 'cancelled', finished_at = clock_timestamp() WHERE id = $1 AND state = 'running'
RETURNING lifecycle
"""
FAIL = """
UPDATE simulations SET state = 'failed', error = $2, finished_at = clock_timestamp()
WHERE id = $1 AND state = 'running'
"""
REPORT = """
UPDATE simulations SET progress = $2::jsonb, alive_at = clock_timestamp() WHERE id = $1 AND state = 'running'
RETURNING 1
"""
SAVE = """
UPDATE simulations
SET result = $2::jsonb, state = $3, progress = $4::jsonb, alive_at = clock_timestamp(),
    finished_at = CASE WHEN $3 = 'running' THEN NULL ELSE clock_timestamp() END
WHERE id = $1 AND state = 'running'
RETURNING 1
"""
ADD_CHANGES = """
INSERT INTO simulated_changes (simulation, customer_id, now_in, then_in)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[])
ON CONFLICT DO NOTHING
"""
# Who was erased while the simulation ran.
FORGET_ERASED = """
DELETE FROM simulated_changes s
WHERE s.simulation = $1 AND NOT EXISTS (SELECT FROM touchpoints t WHERE t.customer_id = s.customer_id)
"""
EXAMPLES_OF = """
SELECT now_in, then_in, customer_id
FROM (
    SELECT now_in, then_in, customer_id,
           row_number() OVER (PARTITION BY now_in, then_in ORDER BY customer_id) AS number
    FROM simulated_changes
    WHERE simulation = $1
) AS numbered
WHERE number <= $2
ORDER BY customer_id
"""
CHANGES_OF = """
SELECT customer_id, now_in, then_in
FROM simulated_changes
WHERE simulation = $1 AND customer_id > $2
  AND ($3::text IS NULL OR coalesce(now_in, '') = $3) AND ($4::text IS NULL OR coalesce(then_in, '') = $4)
ORDER BY customer_id
LIMIT $5
"""


class PostgresSimulations:
    """Implements `simulations.SimulationStore`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def running(self) -> int:
        return int(await self._pool.fetchval(RUNNING_NOW, _ALIVE_SECONDS))

    async def add(self, order: SimulationOrder, author: str) -> UUID:
        simulation = uuid4()
        await self._pool.execute(TRIM, _KEPT)
        request = {
            "definition": order.definition, "on_change": order.on_change, "effective_from": order.effective_from,
            "until": order.until, "plays": [list(play) for play in order.plays],
        }  # fmt: skip
        await self._pool.execute(
            ADD, simulation, order.lifecycle, author, orjson.dumps(request).decode(), _START_SECONDS
        )
        return simulation

    async def order(self, simulation: UUID) -> SimulationOrder | None:
        """What to simulate; None: there is no such simulation, or it does not run."""
        row = await self._pool.fetchrow(FIND, simulation, _ALIVE_SECONDS)
        if row is None or row["state"] != RUNNING:
            return None
        request = orjson.loads(row["request"])
        plays = [(name, when) for name, when in request.pop("plays")]
        return SimulationOrder(lifecycle=row["lifecycle"], plays=plays, **request)

    async def find(self, simulation: UUID) -> dict[str, Any] | None:
        row = await self._pool.fetchrow(FIND, simulation, _ALIVE_SECONDS)
        if row is None:
            return None
        state, error = row["state"], row["error"]
        if state == "lost":
            state, error = FAILED, "its process has ended: start it again"
        result = None if row["result"] is None else orjson.loads(row["result"])
        if result is not None:
            examples: dict[tuple[str | None, str | None], list[str]] = {}
            for one in await self._pool.fetch(EXAMPLES_OF, simulation, EXAMPLES):
                examples.setdefault((one["now_in"], one["then_in"]), []).append(one["customer_id"])
            for change in result["changes"]:
                change["examples"] = examples.get((change["running"], change["candidate"]), [])
        return {
            "id": str(simulation),
            "lifecycle": row["lifecycle"],
            "state": state,
            "progress": orjson.loads(row["progress"]),
            "result": result,
            "error": error,
            "author": row["author"],
            "created_at": to_wire(row["created_at"]),
            "finished_at": None if row["finished_at"] is None else to_wire(row["finished_at"]),
        }

    async def changes(
        self, simulation: UUID, running: str | None, candidate: str | None, after: str, limit: int
    ) -> list[SimulatedChange]:
        rows = await self._pool.fetch(CHANGES_OF, simulation, after, running, candidate, limit)
        return [SimulatedChange(*row) for row in rows]

    async def cancel(self, simulation: UUID) -> bool:
        return await self._pool.fetchval(CANCEL, simulation) is not None

    async def fail(self, simulation: UUID, error: str) -> None:
        await self._pool.execute(FAIL, simulation, error)


class PostgresSimulationRecord:
    """Implements `simulations.SimulationRecord`."""

    def __init__(self, pool: asyncpg.Pool, simulation: UUID) -> None:
        self._pool = pool
        self._simulation = simulation
        self._reported_at = 0.0
        self._progress: dict[str, Any] = {}

    async def report(self, progress: Progress) -> None:
        self._progress = progress.as_json()
        if time.monotonic() - self._reported_at < _REPORT_EVERY:
            return
        self._reported_at = time.monotonic()
        if await self._pool.fetchval(REPORT, self._simulation, orjson.dumps(self._progress).decode()) is None:
            raise CancelledError(CANCELLED)

    async def add_changes(self, changes: Sequence[SimulatedChange]) -> None:
        if changes:
            columns = [list(column) for column in zip(*changes, strict=True)]
            await self._pool.execute(ADD_CHANGES, self._simulation, *columns)

    async def save(self, result: dict[str, Any], state: str) -> None:
        await self._pool.execute(FORGET_ERASED, self._simulation)
        saved = await self._pool.fetchval(
            SAVE, self._simulation, orjson.dumps(result).decode(), state, orjson.dumps(self._progress).decode()
        )
        if saved is None:
            raise CancelledError(CANCELLED)
