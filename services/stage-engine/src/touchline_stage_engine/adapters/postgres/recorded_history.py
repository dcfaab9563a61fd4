"""The touchpoints in the engine's tables, customer by customer in the order of the fold, for a simulation.

One customer's touchpoints are in memory at a time: the tables are read with a server-side cursor.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import asyncpg
from touchline_runtime.database import pools as database
from touchline_runtime.errors import ConfigurationError

from touchline_stage_engine.application.batches.changes import read_touchpoint
from touchline_stage_engine.application.simulation import CustomerTouchpoints, InvalidLine, Progress, RecordedVersion
from touchline_stage_engine.settings import StageEngineSettings

CHUNK = 2000

# Every touchpoint by customer. A merged key keeps its own copies; they are left out.
RECORDED = """
SELECT t.customer_id, t.occurred_at, t.id, t.source, t.type, t.channel, t.flags, t.received_at, t.properties
FROM touchpoints t
WHERE NOT EXISTS (SELECT FROM customers c WHERE c.customer_id = t.customer_id AND c.merged_into IS NOT NULL)
ORDER BY t.customer_id, t.occurred_at, t.id, t.source
"""
CUSTOMERS = "SELECT count(*) FROM customers WHERE merged_into IS NULL AND touchpoints > 0"
RUNNING = "SELECT text, effective_from FROM lifecycles WHERE name = $1 AND running ORDER BY version"


class RecordedHistory:
    """The touchpoints that an engine has stored, over one connection in a read-only transaction."""

    description = "the database"
    invalid = 0
    refused_links = 0

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.invalid_lines: list[InvalidLine] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: StageEngineSettings) -> AsyncIterator["RecordedHistory"]:
        """Open the deployment's history as it is now.

        Raises:
            ConfigurationError: there are no tables of a stage engine.
            Unavailable: the database does not answer.
        """
        settings.need("database_url")
        path = f'"{settings.schema_name}"'
        async with database.pool(
            settings, application_name="touchline simulation", size=1, search_path=path, limited=False
        ) as pool:
            try:
                async with pool.acquire() as acquired, acquired.transaction(isolation="repeatable_read", readonly=True):
                    connection = cast("asyncpg.Connection", acquired)  # a pool's proxy of one
                    # The transaction is idle while a chunk of customers is folded.
                    await connection.execute("SET LOCAL idle_in_transaction_session_timeout = '10min'")
                    yield cls(connection)
            except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
                raise ConfigurationError(
                    f"the database has no stage engine tables for TOUCHLINE_TOPIC_PREFIX={settings.topic_prefix}: "
                    "check TOUCHLINE_DATABASE_URL and the prefix, or simulate with --touchpoints FILE"
                ) from None

    async def load(self, progress: Progress, shared_key_limit: int) -> None:
        """Nothing to prepare: the tables are read with a cursor."""

    async def customers(self) -> int:
        """How many customers have touchpoints."""
        return int(await self._connection.fetchval(CUSTOMERS))

    async def running(self, name: str) -> list[RecordedVersion]:
        """The running versions of a lifecycle, oldest first; empty when it does not run."""
        rows = await self._connection.fetch(RUNNING, name)
        return [RecordedVersion(row["text"], row["effective_from"]) for row in rows]

    async def lives(self) -> AsyncIterator[CustomerTouchpoints]:
        """The touchpoints of every customer."""
        life: CustomerTouchpoints | None = None
        async for row in self._connection.cursor(RECORDED, prefetch=CHUNK):
            if life is None or life.customer_id != row["customer_id"]:
                if life is not None:
                    yield life
                life = CustomerTouchpoints(row["customer_id"], [])
            life.touchpoints.append(read_touchpoint(row))
        if life is not None:
            yield life
