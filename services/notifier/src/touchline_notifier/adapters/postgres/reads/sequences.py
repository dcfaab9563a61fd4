"""What is read of sequences: how many people are at each step, and a person's runs."""

from datetime import datetime
from typing import Any

import asyncpg

from touchline_notifier.adapters.postgres.reads.queries import after_cursor, page_of, plain
from touchline_notifier.application.api_ports import Page
from touchline_notifier.core.sequences.definition import read_definition
from touchline_notifier.core.sequences.describe import described

# Of the runs that began under one definition: a step has its place in no other.
VISITS = """
SELECT visit.step, count(*) AS entered, count(*) FILTER (WHERE visit.left_at IS NULL) AS here
FROM sequence_visits visit JOIN sequence_runs run USING (run_id)
WHERE run.play = $1 AND run.digest = $2 AND ($3::timestamptz IS NULL OR run.started_at >= $3)
GROUP BY visit.step
"""
LEFT = """
SELECT visit.step, visit.result, count(*) AS people
FROM sequence_visits visit JOIN sequence_runs run USING (run_id)
WHERE run.play = $1 AND run.digest = $2 AND visit.left_at IS NOT NULL
  AND ($3::timestamptz IS NULL OR run.started_at >= $3)
GROUP BY visit.step, visit.result
ORDER BY people DESC, visit.result
"""
ENDED = """
SELECT digest = $2 AS present, coalesce(end_code, 'running') AS code, count(*) AS people
FROM sequence_runs
WHERE play = $1 AND ($3::timestamptz IS NULL OR started_at >= $3)
GROUP BY 1, 2
ORDER BY people DESC, code
"""

RUNS = """
SELECT run_id, play, nullif(play_version, 0) AS play_version, customer_id, lifecycle, started_at, step, entered_at,
       wake_at, ended_at, end_code AS ended, end_text AS reason, held_out
FROM sequence_runs
WHERE {conditions}
ORDER BY started_at DESC, run_id DESC
LIMIT $1
"""
OF_CUSTOMER = """
SELECT run.run_id, run.play, nullif(run.play_version, 0) AS play_version, run.lifecycle, run.started_at, run.step,
       run.entered_at, run.wake_at, run.ended_at, run.end_code AS ended, run.end_text AS reason, definition.definition
FROM sequence_runs run JOIN sequence_definitions definition USING (digest)
WHERE run.customer_id = $1
ORDER BY run.started_at DESC, run.run_id DESC
LIMIT 100
"""
PATHS = """
SELECT run_id, step, entered_at, left_at, result
FROM sequence_visits
WHERE run_id = ANY($1::uuid[])
ORDER BY entered_at, step
"""


class PostgresSequences:
    """Implements :class:`~touchline_notifier.application.api_ports.SequenceReads`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def steps(self, play: str, digest: bytes, since: datetime | None) -> dict[str, Any]:
        """``steps``: step → how many came, are there, and left how; ``ended`` and ``earlier``: runs by how they ended,
        of the definition and of earlier ones.
        """
        rows = await self._pool.fetch(VISITS, play, digest, since)
        steps = {row["step"]: {"entered": row["entered"], "here": row["here"], "left": {}} for row in rows}
        for row in await self._pool.fetch(LEFT, play, digest, since):
            steps.get(row["step"], {"left": {}})["left"][row["result"]] = row["people"]
        ended: dict[bool, dict[str, int]] = {True: {}, False: {}}
        for row in await self._pool.fetch(ENDED, play, digest, since):
            ended[row["present"]][row["code"]] = row["people"]
        return {"steps": steps, "ended": ended[True], "earlier": ended[False]}

    async def runs(
        self,
        play: str,
        *,
        customer_id: str | None = None,
        step: str | None = None,
        running: bool | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """A play's runs, the newest first."""
        values: list[Any] = [limit + 1, play]
        conditions = ["play = $2"]
        for column, value in (("customer_id", customer_id), ("step", step)):
            if value is not None:
                values.append(value)
                conditions.append(f"{column} = ${len(values)}")
        if running is not None:
            conditions.append(f"ended_at IS {'' if running else 'NOT '}NULL")
        if cursor is not None:
            values += after_cursor(cursor)
            conditions.append(f"(started_at, run_id) < (${len(values) - 1}, ${len(values)})")
        rows = await self._pool.fetch(RUNS.format(conditions=" AND ".join(conditions)), *values)
        return page_of(rows, limit, "started_at", "run_id")


async def sequences_of(connection: asyncpg.pool.PoolConnectionProxy, customer_id: str) -> list[dict[str, Any]]:
    """The runs of a customer, the newest first, each with the steps that it came to."""
    rows = await connection.fetch(OF_CUSTOMER, customer_id)
    paths: dict[Any, list[dict[str, Any]]] = {}
    for row in await connection.fetch(PATHS, [row["run_id"] for row in rows]) if rows else ():
        shown = plain(row)
        del shown["run_id"]
        paths.setdefault(row["run_id"], []).append(shown)
    return [_of_customer(row, paths.get(row["run_id"], [])) for row in rows]


def _of_customer(row: asyncpg.Record, path: list[dict[str, Any]]) -> dict[str, Any]:
    shown = plain(row)
    steps = described(read_definition(shown.pop("definition")))
    texts = {step["step"]: step["title"] or step["text"] for step in steps}
    shown["step_text"] = texts[row["step"]]
    return {**shown, "path": [{**visit, "text": texts[visit["step"]]} for visit in path]}
