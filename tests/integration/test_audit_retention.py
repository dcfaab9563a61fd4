"""Old entries of the audit log are deleted when a setting says so, in every service that has one, and no others."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from touchline_notifier import bootstrap as notifier
from touchline_notifier.settings import NotifierSettings
from touchline_runtime.audit.retention import AuditRetention
from touchline_runtime.database.retention import AT_ONCE
from touchline_stage_engine import bootstrap as engine
from touchline_stage_engine.settings import StageEngineSettings

pytestmark = pytest.mark.stack

NOW = datetime(2026, 6, 1, tzinfo=UTC)
MANY = 2 * AT_ONCE + 500
ENTRIES = """
INSERT INTO audit_log (at, actor, role, action, target, request_id)
SELECT $1, 'ada', 'operator', $2, 'play/calls', 'r' FROM generate_series(1, $3::int)
"""
SERVICES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "notifier": (NotifierSettings, notifier.migrate),
    "stage engine": (StageEngineSettings, engine.migrate),
}


@pytest.fixture(params=list(SERVICES))
async def pool(request: pytest.FixtureRequest, database_url: str, topic_prefix: str) -> AsyncIterator[asyncpg.Pool]:
    """A service's tables, with entries of 100 days and of 10 days ago."""
    settings_of, migrate = SERVICES[request.param]
    settings = settings_of(database_url=database_url, topic_prefix=topic_prefix)
    await migrate(settings)
    async with asyncpg.create_pool(
        database_url, min_size=1, max_size=2, server_settings={"search_path": f'"{settings.schema_name}"'}
    ) as pool:
        await pool.execute(ENTRIES, NOW - timedelta(days=100), "old", MANY)
        await pool.execute(ENTRIES, NOW - timedelta(days=10), "young", 5)
        yield pool


async def left(pool: asyncpg.Pool) -> dict[str, int]:
    rows = await pool.fetch("SELECT action, count(*) AS entries FROM audit_log GROUP BY action")
    return {row["action"]: row["entries"] for row in rows}


async def test_by_default_everything_is_kept(pool: asyncpg.Pool) -> None:
    await AuditRetention(pool, None).delete_old(NOW, asyncio.Event())
    assert await left(pool) == {"old": MANY, "young": 5}


async def test_old_entries_go_in_pieces_and_younger_ones_stay(pool: asyncpg.Pool) -> None:
    await AuditRetention(pool, 30).delete_old(NOW, asyncio.Event())
    assert await left(pool) == {"young": 5}


async def test_it_stops_between_two_pieces(pool: asyncpg.Pool) -> None:
    stopping = asyncio.Event()
    stopping.set()
    await AuditRetention(pool, 30).delete_old(NOW, stopping)
    assert await left(pool) == {"old": MANY, "young": 5}


@pytest.mark.parametrize(
    "change", ["DELETE FROM audit_log", "UPDATE audit_log SET actor = 'bob'", "TRUNCATE audit_log"]
)
async def test_nobody_else_changes_the_log(pool: asyncpg.Pool, change: str) -> None:
    await AuditRetention(pool, 30).delete_old(NOW, asyncio.Event())
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await pool.execute(change)


@pytest.mark.parametrize("change", ["UPDATE audit_log SET actor = 'bob'", "TRUNCATE audit_log"])
async def test_retention_itself_changes_no_entry(pool: asyncpg.Pool, change: str) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT set_config('touchline.audit_retention', 'on', true)")
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await connection.execute(change)
