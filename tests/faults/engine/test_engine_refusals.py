"""Kinds: a server that refuses for a while (read-only, full); errors inside the loops that watch Kafka."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from tests.support.engine.world import LIFECYCLE, Process, World, touchpoint
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.faults]
START = datetime(2026, 3, 1, tzinfo=UTC)
LIMITS: dict[str, Any] = {"TOUCHLINE_DATABASE_COMMAND_TIMEOUT_SECONDS": "3", "TOUCHLINE_STALL_SECONDS": "4"}


async def post(world: World, first: int, number: int = 40) -> None:
    await world.post(
        [
            touchpoint(f"t-{n}", START + timedelta(hours=n), customer_id=f"c-{n % 20}")
            for n in range(first, first + number)
        ]
    )


async def unready(process: Process, *words: str, within: float = 60) -> None:
    async def reported() -> bool:
        async with httpx.AsyncClient(timeout=60) as client:
            response = await client.get(f"http://127.0.0.1:{process.port}/readyz")
        return response.status_code == 503 and any(word in response.text for word in words)

    await wait_until(reported, f"/readyz is 503 and has one of {words}", within)


@asynccontextmanager
async def read_only(world: World) -> AsyncIterator[None]:
    database = urlsplit(world.database_url).path[1:]
    connection = await asyncpg.connect(world.database_url)
    try:
        await connection.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
        yield
    finally:
        await connection.execute("SET default_transaction_read_only = off")
        await connection.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")
        await connection.close()


async def nothing(world: World) -> None:
    """An empty database: the migrations are refused."""


async def migrated(world: World) -> None:
    """Tables without a row: what identifies the deployment is refused."""
    done = await asyncio.to_thread(world.command, "migrate")
    assert done.returncode == 0, done.stderr


async def another_definition(world: World) -> None:
    """It ran once, and a new version is in the folder: recording its definition is refused."""
    await ran_before(world)
    world.write_lifecycle(LIFECYCLE.replace("version: 1", "version: 2"), "trial-2")


async def ran_before(world: World) -> None:
    """Everything is there: claiming partitions is refused."""
    process = await world.running()
    process.popen.terminate()
    await process.ended()


@pytest.mark.parametrize("before", [nothing, migrated, another_definition, ran_before], ids=lambda one: one.__name__)
async def test_a_server_that_is_read_only_while_the_engine_starts_is_waited_for_at_every_step(
    world: World, before: Any
) -> None:
    await before(world)
    async with read_only(world):
        process = world.start(**LIMITS)

        async def reported() -> bool:
            assert process.popen.poll() is None, process.log.read_text()
            return "read-only" in process.log.read_text()

        await wait_until(reported, "the log says that the server is read-only")
        await asyncio.sleep(2)
        assert process.popen.poll() is None, process.log.read_text()
    await process.ready()
    await post(world, 0)
    await world.folded(40)
    assert "Traceback" not in process.log.read_text()


async def test_a_full_disk_is_waited_for_and_loses_and_rejects_nothing(world: World) -> None:
    process = await world.running(**LIMITS)
    await post(world, 0)
    await world.folded(40)
    # The server's own error, with its own code, for every row written.
    await world.sql(
        """
        CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$
        """
    )
    await world.sql("CREATE TRIGGER full_disk BEFORE INSERT ON touchpoints EXECUTE FUNCTION full_disk()")
    await post(world, 40)
    await unready(process, "free disk space")
    assert process.popen.poll() is None
    await world.sql("DROP TRIGGER full_disk ON touchpoints")
    await world.folded(80)
    await process.ready()
    assert await process.metric("touchline_dead_letters_total") == 0
    (row,) = await world.sql("SELECT count(*) AS n FROM touchpoints")
    assert row["n"] == 80
