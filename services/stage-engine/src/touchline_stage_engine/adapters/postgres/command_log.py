"""The audit log of commands about customers, and the receipts of erasures."""

from uuid import UUID

import asyncpg
from touchline_runtime.audit.entry import AuditEntry
from touchline_runtime.audit.postgres import append

from touchline_stage_engine.adapters.postgres import erasure_receipts
from touchline_stage_engine.adapters.postgres.deployment import check_deployment
from touchline_stage_engine.application.queries.values import ErasureProgress
from touchline_stage_engine.settings import StageEngineSettings


class PostgresCommandLog:
    """Implements `customer_commands.CommandLog`."""

    def __init__(self, pool: asyncpg.Pool, settings: StageEngineSettings) -> None:
        self._pool = pool
        self._settings = settings

    async def append(self, entry: AuditEntry) -> None:
        await append(self._pool, entry)

    async def secret(self) -> bytes:
        return await check_deployment(self._pool, self._settings)

    async def progress(self, receipt: UUID) -> ErasureProgress:
        return await erasure_receipts.progress(self._pool, receipt)
