"""Customer summaries: the rows that people search, filter and sort customers by.

They are derived in the background and decide nothing, so that folding does not depend on them: every change of a
customer's touchpoints changes the number in ``customers``, and where it differs from the one a summary was written at,
the summary is written again. A refresh costs one reading of ``customers``, so the larger they are, the longer the
pause. One process of a deployment refreshes at a time.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import asyncpg
import orjson
import structlog
from asyncpg.pool import PoolConnectionProxy
from touchline_runtime.database.faults import UNREACHABLE
from touchline_runtime.metrics import Metrics
from touchline_runtime.process.repeated_faults import FaultLog
from touchline_schemas.touchpoint_types import PASSIVE_TYPES

from touchline_stage_engine.adapters.postgres import summary_statements as sql
from touchline_stage_engine.core.analysis.search_terms import terms_of
from touchline_stage_engine.core.identity.traits import Profile, read_all
from touchline_stage_engine.metrics import SUMMARIES_WRITTEN, SUMMARY_SECONDS

log = structlog.get_logger(__name__)

AT_ONCE = 2000
LEAST_PAUSE_SECONDS = 1.0
PAUSE_FACTOR = 15.0
"""A refresh takes at most about a fifteenth of the time."""
REWRITTEN_AFTER = 24 * 3600 * 1_000_000
_AWAY_SECONDS = 5.0


class CustomerSummaries:
    """Keeps the summaries up to date while the process runs."""

    name = "customer summaries"

    def __init__(self, pool: asyncpg.Pool, metrics: Metrics | None = None) -> None:
        self._pool = pool
        self._metrics = metrics
        self._faults = FaultLog(log, "summaries_not_refreshed")

    async def run(self, stopping: asyncio.Event) -> None:
        """Refresh again and again; a database that is away is waited for."""
        while not stopping.is_set():
            began = time.monotonic()
            try:
                await self.refresh()
                self._faults.over()
                pause = max(LEAST_PAUSE_SECONDS, PAUSE_FACTOR * (time.monotonic() - began))
            except (*UNREACHABLE, asyncpg.PostgresError) as error:
                self._faults.failed(type(error).__name__)
                pause = _AWAY_SECONDS
            try:
                async with asyncio.timeout(pause):
                    await stopping.wait()
            except TimeoutError:
                continue

    async def refresh(self) -> int:
        """Write what is missing or out of date, and delete what is gone; how many rows were written."""
        async with self._pool.acquire() as reader, self._pool.acquire() as writer:
            if not await writer.fetchval(sql.LOCK):
                return 0
            try:
                began = time.monotonic()
                gone = [row["customer_id"] for row in await writer.fetch(sql.DELETE_GONE, timeout=600)]
                if gone:
                    await writer.execute(sql.DELETE_TERMS, gone)
                written = 0
                least = time.time_ns() // 1000 - REWRITTEN_AFTER
                stale = [row["customer_id"] for row in await reader.fetch(sql.STALE, least, timeout=600)]
                for start in range(0, len(stale), AT_ONCE):
                    written += await self._write(writer, stale[start : start + AT_ONCE])
                    await asyncio.sleep(0)
                if self._metrics is not None:
                    self._metrics.histogram(SUMMARY_SECONDS).observe(time.monotonic() - began)
                    self._metrics.counter(SUMMARIES_WRITTEN).inc(written)
                return written
            finally:
                await writer.execute(sql.UNLOCK)

    async def _write(self, connection: "PoolConnectionProxy[asyncpg.Record]", customers: Sequence[str]) -> int:
        """Write some summaries. Values that PostgreSQL can't read leave out the customer who has them, no other."""
        try:
            async with connection.transaction():
                return await self._write_together(connection, customers)
        except asyncpg.DataError as error:
            if len(customers) == 1:
                log.warning("customer_not_summarised", customer_id=customers[0], error=str(error))
                return 0
        middle = len(customers) // 2
        return await self._write(connection, customers[:middle]) + await self._write(connection, customers[middle:])

    async def _write_together(self, connection: "PoolConnectionProxy[asyncpg.Record]", customers: Sequence[str]) -> int:
        counts = {row["customer_id"]: row["touchpoints"] for row in await connection.fetch(sql.COUNTS, customers)}
        rows = await connection.fetch(sql.GATHER, list(counts), list(counts.values()), sorted(PASSIVE_TYPES))
        said = read_all(
            (
                row["customer_id"],
                row["type"],
                row["channel"],
                _object(row["properties"]),
                _object(row["identifiers"]),
            )
            for row in await connection.fetch(sql.SAID, list(counts))
        )
        keys: dict[str, list[str]] = {row["customer_id"]: [row["customer_id"]] for row in rows}
        for row in await connection.fetch(sql.KEYS, list(counts)):
            keys.setdefault(row["customer_id"], []).append(row["alias"])
        nobody = Profile()
        people = [said.get(row["customer_id"], nobody) for row in rows]
        await connection.execute(
            sql.SAVE,
            [row["customer_id"] for row in rows],
            [row["touchpoints"] for row in rows],
            [person.name for person in people],
            [person.email for person in people],
            [orjson.dumps(person.traits).decode() for person in people],
            *(
                [row[column] for row in rows]
                for column in (
                    "first_at", "first_channel", "first_source", "active_at", "value", "purchases", "last_purchase_at",
                )
            ),
            [len(keys[row["customer_id"]]) - 1 for row in rows],
            time.time_ns() // 1000,
        )  # fmt: skip
        await connection.execute(sql.DELETE_TERMS, list(counts))
        terms = [
            (term, row["customer_id"])
            for row, person in zip(rows, people, strict=True)
            for term in terms_of([*keys[row["customer_id"]], *person.external_ids], person.email, person.name)
        ]
        await connection.execute(sql.SAVE_TERMS, [term for term, _ in terms], [who for _, who in terms])
        return len(rows)


def _object(text: str | None) -> dict[str, Any]:
    value = orjson.loads(text) if text else {}
    return value if isinstance(value, dict) else {}
