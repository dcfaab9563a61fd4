"""Runs of sequences in PostgreSQL."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from touchline_notifier.adapters.postgres.outbox import Connection
from touchline_notifier.adapters.postgres.sequences import statements as sql
from touchline_notifier.application.ports import ListeningRun
from touchline_notifier.core.decisions.action import StepOf
from touchline_notifier.core.decisions.stage_events import Fact
from touchline_notifier.core.sequences.definition import Definition, read_definition
from touchline_notifier.core.sequences.run import Hit, Run


class Runs:
    """Implements :class:`~touchline_notifier.application.ports.RunRepository` on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def running(self, customer_ids: Sequence[str]) -> list[Run]:
        """The runs of customers that go on, locked, with the touchpoints noted for them and without actions."""
        rows = await self._connection.fetch(sql.RUNNING, customer_ids)
        if not rows:
            return []
        definitions = await self._definitions({row["digest"] for row in rows})
        found = {row["run_id"]: _run(row, definitions[row["digest"]]) for row in rows}
        for row in await self._connection.fetch(sql.HITS, list(found)):
            found[row["run_id"]].hits.append(Hit(row["step"], row["at"]))
        return list(found.values())

    async def steps(self, rows: Iterable[asyncpg.Record]) -> dict[UUID, StepOf]:
        """Action id → the step of a sequence, of rows of actions that carry one out."""
        of_runs = [row for row in rows if row["run_id"] is not None]
        if not of_runs:
            return {}
        runs = {
            row["run_id"]: row for row in await self._connection.fetch(sql.STEPS, [row["run_id"] for row in of_runs])
        }
        definitions = await self._definitions({row["digest"] for row in runs.values()})
        found = {}
        for row in of_runs:
            run = runs.get(row["run_id"])
            if run is None:
                continue  # deleted because it is old: of its actions only the times count
            message = definitions[run["digest"]].messages[row["step"]]
            ended = None if run["end_code"] is None else (run["end_code"], run["end_text"] or "")
            found[row["action_id"]] = StepOf(str(row["run_id"]), row["step"], row["step_at"], message, ended)
        return found

    async def _definitions(self, digests: Collection[bytes]) -> dict[bytes, Definition]:
        rows = await self._connection.fetch(sql.DEFINITIONS, list(digests))
        return {row["digest"]: read_definition(row["definition"]) for row in rows}

    async def save(self, runs: Iterable[Run], partition: int) -> None:
        changed = sorted((run for run in runs if run.touched), key=lambda run: run.run_id)
        if not changed:
            return
        definitions = {run.definition.digest: run.definition.text for run in changed if not run.stored}
        if definitions:
            keys = sorted(definitions)
            await self._connection.execute(sql.KEEP_DEFINITIONS, keys, [definitions[key] for key in keys])
        await self._connection.execute(sql.SAVE_RUNS, *_columns([_row(run, partition) for run in changed]))
        visits = [
            (run.run_id, step, visit.entered_at, visit.left_at, visit.result)
            for run in changed
            for step, visit in run.visits.items()
        ]
        if visits:
            await self._connection.execute(sql.SAVE_VISITS, *_columns(visits))
        known = sorted({(run.run_id, *hit) for run in changed if not run.stored for hit in run.hits})
        if known:
            await self._connection.execute(sql.ADD_HITS, *_columns(known))
        for run in changed:
            run.stored, run.touched = True, False
            run.visits.clear()

    async def listening(self, customer_ids: Iterable[str]) -> list[ListeningRun]:
        rows = await self._connection.fetch(sql.LISTENING, list(customer_ids))
        if not rows:
            return []
        definitions = await self._definitions({row["digest"] for row in rows})
        return [ListeningRun(str(row["run_id"]), row["customer_id"], definitions[row["digest"]]) for row in rows]

    async def note(self, hits: Collection[tuple[str, Hit]], now: datetime) -> None:
        if not hits:
            return
        rows = sorted({(run_id, hit.step, hit.at) for run_id, hit in hits})
        await self._connection.execute(sql.ADD_HITS, *_columns(rows))
        await self._connection.execute(sql.WAKE, sorted({row[0] for row in rows}), now)

    async def merge(self, old: Sequence[str], into: Sequence[str], partitions: Sequence[int], now: datetime) -> None:
        """Move the runs of old keys to the customers that they are merged into."""
        await self._connection.execute(sql.MERGE_RUNS, old, into, partitions, now)

    async def forget(self, keys: Sequence[str]) -> None:
        """Delete the runs of a customer who is erased."""
        await self._connection.execute(sql.FORGET_RUNS, keys)


def _columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _run(row: asyncpg.Record, definition: Definition) -> Run:
    return Run(
        run_id=str(row["run_id"]),
        customer_id=row["customer_id"],
        fact=Fact.from_row(orjson.loads(row["fact"])),
        definition=definition,
        version=row["play_version"],
        started_at=row["started_at"],
        step=row["step"],
        entered_at=row["entered_at"],
        held_out=row["held_out"],
        wake_at=row["wake_at"],
        outcome=row["outcome"],
        anchor=None if row["anchor"] is None else Fact.from_row(orjson.loads(row["anchor"])),
        stored=True,
    )


def _row(run: Run, partition: int) -> tuple[Any, ...]:
    fact, anchor, ended = run.fact, run.anchor, run.ended
    return (
        run.run_id, partition, run.play, run.version, run.definition.digest, run.customer_id,
        orjson.dumps(fact.to_row()).decode(), fact.type, fact.lifecycle, run.started_at, run.held_out, run.step,
        run.entered_at, run.wake_at, run.outcome,
        None if anchor is None else orjson.dumps(anchor.to_row()).decode(),
        None if ended is None else ended.at, None if ended is None else ended.code,
        None if ended is None else ended.text,
    )  # fmt: skip
