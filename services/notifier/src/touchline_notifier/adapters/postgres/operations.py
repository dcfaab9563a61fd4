"""Operators' changes in PostgreSQL; a running notifier reads them."""

from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from touchline_runtime.audit.entry import Actor, AuditEntry
from touchline_runtime.audit.postgres import append

from touchline_notifier.adapters.postgres import decision_statements as sql
from touchline_notifier.adapters.postgres import delivery_statements as delivery_sql
from touchline_notifier.adapters.postgres import endpoint_state
from touchline_notifier.adapters.postgres.reads.queries import plain
from touchline_notifier.application.api_ports import Replay, Sending


class PostgresOperations:
    """Implements :class:`~touchline_notifier.application.api_ports.Operations`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def replay(self, delivery: UUID, now: datetime, actor: Actor) -> str | None:
        async with self._pool.acquire() as connection, connection.transaction():
            before: str | None = await connection.fetchval(delivery_sql.DELIVERY_STATUS, delivery)
            if await connection.fetchval(delivery_sql.REPLAY, delivery, now) is None:
                # Under way: left alone.
                return before
            target = f"delivery/{delivery}"
            await append(
                connection, AuditEntry(actor, "delivery_replayed", target, {"status": before}, {"status": "pending"})
            )
            return "pending"

    async def replayable(self, wanted: Replay) -> list[dict[str, Any]]:
        rows = await self._pool.fetch(delivery_sql.REPLAYABLE, wanted.endpoint, wanted.status, wanted.since)
        return [plain(row) for row in rows]

    async def replay_all(self, wanted: Replay, now: datetime, actor: Actor) -> int:
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(delivery_sql.REPLAY_ALL, wanted.endpoint, wanted.status, wanted.since, now)
            since = None if wanted.since is None else wanted.since.isoformat()
            after = {"status": wanted.status, "since": since, "deliveries": len(rows)}
            target = f"endpoint/{wanted.endpoint}"
            await append(connection, AuditEntry(actor, "deliveries_replayed", target, None, after))
        return len(rows)

    async def enable(self, endpoint: str, now: datetime, actor: Actor) -> None:
        """Open an endpoint again that is disabled, or that waits for its breaker."""
        async with self._pool.acquire() as connection, connection.transaction():
            await endpoint_state.enable_endpoint(connection, endpoint, now)
            await append(connection, AuditEntry(actor, "endpoint_enabled", f"endpoint/{endpoint}"))

    async def sending(self) -> Sending:
        off = await self._pool.fetchval(sql.SENDING_OFF)
        return Sending(on=True) if off is None else Sending(on=False, reason=orjson.loads(off).get("reason"))

    async def switch(self, wanted: Sending, actor: Actor) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            off = await connection.fetchval(sql.SENDING_OFF)
            if wanted.on:
                await connection.execute(sql.SWITCH_ON)
            else:
                await connection.execute(sql.SWITCH_OFF, orjson.dumps({"reason": wanted.reason}).decode())
            action = "sending_resumed" if wanted.on else "sending_paused"
            before, after = {"sending": off is None}, {"sending": wanted.on}
            await append(connection, AuditEntry(actor, action, "sending", before, after, wanted.reason))
