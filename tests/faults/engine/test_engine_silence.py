"""A server that goes silent without closing anything: it is noticed, said, and got over."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
from touchline_devstack.stack import Stack

from tests.support.engine.world import Process, World, touchpoint
from tests.support.frozen_backends import frozen_while_idle
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import wait_until

pytestmark = pytest.mark.faults
START = datetime(2026, 3, 1, tzinfo=UTC)
LIMITS = {"TOUCHLINE_DATABASE_COMMAND_TIMEOUT_SECONDS": "3", "TOUCHLINE_STALL_SECONDS": "4"}


async def readiness(process: Process) -> tuple[int, dict[str, str]]:
    async with httpx.AsyncClient(timeout=30) as client:
        response = await client.get(f"http://127.0.0.1:{process.port}/readyz")
    return response.status_code, response.json()["checks"]


async def post(world: World, first: int, number: int = 40) -> None:
    await world.post(
        [
            touchpoint(f"t-{n}", START + timedelta(hours=n), customer_id=f"c-{n % 20}")
            for n in range(first, first + number)
        ]
    )


async def becomes_unready(process: Process) -> dict[str, str]:
    """Wait for it, thirty seconds on any machine: LIMITS make it a matter of seconds."""

    async def unready() -> Any:
        status, checks = await readiness(process)
        return checks if status == 503 else None

    found: dict[str, str] = await wait_until(unready, "it says that it is not ready", 30, exact=True)
    return found


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[TcpProxy]:
    address = urlsplit(database_url)
    assert address.hostname
    assert address.port
    async with TcpProxy(address.hostname, address.port).serve() as proxy:
        yield proxy


async def through(world: World, proxy: TcpProxy) -> Process:
    """An engine whose database is behind the proxy."""
    address = urlsplit(world.database_url)
    url = address._replace(netloc=f"{address.username}:{address.password}@127.0.0.1:{proxy.port}").geturl()
    return await world.running(**LIMITS, TOUCHLINE_DATABASE_URL=url)


async def test_a_database_process_that_stops_is_noticed_and_replaced(world: World) -> None:
    process = await world.running(**LIMITS)
    await post(world, 0)
    await world.folded(40)
    rows = await world.sql(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE '% partition %'"
    )
    pids = [row["pid"] for row in rows]
    assert len(pids) == 4
    async with frozen_while_idle(world.database_url, pids):
        await post(world, 40)
        checks = await becomes_unready(process)
        assert "partitions" in checks["partitions"]
        await world.folded(80)
        await process.ready()
    assert process.popen.poll() is None


async def test_connections_that_a_network_forgot_are_given_up_and_opened_anew(world: World, proxy: TcpProxy) -> None:
    process = await through(world, proxy)
    await post(world, 0)
    await world.folded(40)
    proxy.forget()
    await post(world, 40)
    await world.folded(80)
    await process.ready()
    assert process.popen.poll() is None


async def test_the_query_api_answers_503_while_the_database_is_away_or_silent(world: World, proxy: TcpProxy) -> None:
    process = await through(world, proxy)
    await post(world, 0)
    await world.folded(40)
    paths = ["/v1/customers/c-1", "/v1/customers/c-1/history", "/v1/lifecycles/trial/funnel", "/v1/identity-conflicts"]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{process.port}", timeout=60) as client:
        for path in paths:
            assert (await client.get(path)).status_code == 200
        proxy.forget()
        silent = await asyncio.gather(*(client.get(path) for path in paths))
        proxy.refusing = True
        proxy.reset()
        away = [await client.get(path) for path in paths]
        for response in (*silent, *away):
            if response in away or response.status_code != 200:
                assert response.status_code == 503, response.text
                assert int(response.headers["Retry-After"]) > 0
                assert response.headers["content-type"] == "application/problem+json"
        assert any(response.status_code == 503 for response in silent)
        await becomes_unready(process)
        proxy.refusing = False
        await process.ready()
        assert (await client.get(paths[0])).status_code == 200
    assert "Traceback" not in process.log.read_text()


async def test_a_broker_that_stops_is_noticed_and_folding_goes_on_when_it_continues(world: World, stack: Stack) -> None:
    broker = next(part.pid for part in stack.status() if part.title == "Kafka")
    if broker is None:
        pytest.skip("this Kafka is not a process of ours: run on the embedded stack")
    process = await world.running(**LIMITS)
    await post(world, 0)
    await world.folded(40)
    os.kill(broker, signal.SIGSTOP)
    try:
        began = time.monotonic()
        checks = await becomes_unready(process)
        assert checks["kafka"] != "ok"
        await asyncio.sleep(max(0.0, began + 8 - time.monotonic()))  # longer than TOUCHLINE_STALL_SECONDS
        _, checks = await readiness(process)
        assert "no progress" in checks["partitions"] or "partitions" in checks["partitions"]
        assert await process.metric("touchline_partition_idle_seconds") > 0
    finally:
        os.kill(broker, signal.SIGCONT)
    await post(world, 40)
    await world.folded(80)
    await process.ready()


@pytest.mark.parametrize(
    ("statement", "undo"),
    [
        (
            "ALTER DATABASE {database} SET default_transaction_read_only = on",
            "ALTER DATABASE {database} RESET default_transaction_read_only",
        ),
        ("ALTER ROLE {role} NOLOGIN", "ALTER ROLE {role} LOGIN"),
    ],
    ids=["read-only", "credentials"],
)
async def test_a_database_that_refuses_for_a_while_is_waited_for(world: World, statement: str, undo: str) -> None:
    process = await world.running(**LIMITS)
    await post(world, 0)
    await world.folded(40)
    address = urlsplit(world.database_url)
    names = {"database": address.path[1:], "role": address.username}
    kick = """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
    """
    operator = await asyncpg.connect(world.database_url)
    try:
        await operator.execute(statement.format(**names))
        await operator.fetch(kick)
        await post(world, 40)
        await becomes_unready(process)
        assert process.popen.poll() is None
    finally:
        await operator.execute("SET default_transaction_read_only = off")
        await operator.execute(undo.format(**names))
        await operator.fetch(kick)
        await operator.close()
    await world.folded(80)
    await process.ready()
