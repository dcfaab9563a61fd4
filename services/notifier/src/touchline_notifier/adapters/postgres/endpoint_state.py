"""The breakers of endpoints in PostgreSQL: they survive a restart, and all workers share them."""

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from touchline_notifier.adapters.postgres import delivery_statements as sql
from touchline_notifier.adapters.postgres.outbox import Connection
from touchline_notifier.core.delivery.breaker import Breaker
from touchline_notifier.core.delivery.channel import Attempt, Delivered
from touchline_notifier.core.delivery.conclusion import learn


async def enable_endpoint(connection: Connection, endpoint: str, now: datetime) -> None:
    """Send again to an endpoint that is disabled, or that waits for its breaker."""
    async with connection.transaction():
        breaker = await _locked(connection, endpoint, now)
        await save(connection, endpoint, breaker.enabled(), now)


async def not_closed(connection: Connection, endpoints: Sequence[str]) -> dict[str, Breaker]:
    """The breakers of those endpoints whose breaker is not closed."""
    return {row["endpoint"]: _breaker(row) for row in await connection.fetch(sql.BREAKERS, list(endpoints))}


async def to_probe(connection: Connection, endpoint: str) -> Breaker | None:
    """The breaker of an endpoint whose pause is over, locked; None when another worker has it."""
    row = await connection.fetchrow(sql.BREAKER_TO_PROBE, endpoint)
    return None if row is None else _breaker(row)


async def record_result(connection: Connection, endpoint: str, delivery: str, attempt: Attempt, now: datetime) -> None:
    """Record what an attempt of a delivery says about its endpoint."""
    # The usual case locks nothing: a success at an endpoint without failures changes nothing.
    if isinstance(attempt, Delivered):
        row = await connection.fetchrow(sql.BREAKER, endpoint)
        if row is None or _breaker(row) == Breaker():
            return
    before = await _locked(connection, endpoint, now)
    after = learn(before, attempt, now, delivery=delivery)
    if after != before:
        await save(connection, endpoint, after, now)
    if not isinstance(attempt, Delivered):
        await connection.execute(sql.NOTE_ERROR, endpoint, attempt.why, now)


async def save(connection: Connection, endpoint: str, breaker: Breaker, now: datetime) -> None:
    """Keep a breaker."""
    disabled = breaker.state == "disabled"
    await connection.execute(
        sql.SAVE_BREAKER,
        endpoint,
        disabled,
        breaker.reason,
        "closed" if disabled else breaker.state,
        breaker.failures,
        breaker.failing_since,
        breaker.open_until,
        now,
        list(breaker.failing),
    )


async def _locked(connection: Connection, endpoint: str, now: datetime) -> Breaker:
    row = await connection.fetchrow(sql.BREAKER_TO_UPDATE, endpoint, now)
    assert row is not None, "an upsert returns its row"
    return _breaker(row)


def _breaker(row: asyncpg.Record) -> Breaker:
    return Breaker(
        state="disabled" if row["disabled_at"] is not None else row["breaker"],
        failures=row["failures"],
        open_until=row["retry_after"],
        failing_since=row["failing_since"],
        reason=row["disabled_reason"],
        failing=tuple(row["failing"]),
    )
