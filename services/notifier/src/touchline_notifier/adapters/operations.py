"""What an operator does, in PostgreSQL; a running notifier notices by itself."""

from datetime import datetime
from uuid import UUID

import asyncpg
import orjson

from touchline_notifier.adapters import decision_sql as sql
from touchline_notifier.adapters import delivery_queue, endpoint_state
from touchline_notifier.core.ports import Sending


class Operations:
    """An operator's hands."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def replay(self, delivery: UUID, now: datetime) -> str | None:
        """Try a delivery again from the start of the schedule; its status then, None where there is none."""
        async with self._pool.acquire() as connection:
            return await delivery_queue.replay(connection, delivery, now)

    async def enable(self, endpoint: str, now: datetime) -> None:
        """Open an endpoint again that is disabled, or that waits for its breaker."""
        async with self._pool.acquire() as connection:
            await endpoint_state.enable_endpoint(connection, endpoint, now)

    async def sending(self) -> Sending:
        """The switch."""
        off = await self._pool.fetchval(sql.SENDING_OFF)
        return Sending(on=True) if off is None else Sending(on=False, reason=orjson.loads(off).get("reason"))

    async def switch(self, wanted: Sending) -> None:
        """Turn the switch."""
        if wanted.on:
            await self._pool.execute(sql.SWITCH_ON)
        else:
            await self._pool.execute(sql.SWITCH_OFF, orjson.dumps({"reason": wanted.reason}).decode())
