"""Kind: a server that goes silent without closing anything. The notifier reports it in time, and recovers by itself."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
from touchline_devstack.receivers import WebhookReceiver
from touchline_devstack.stack import Stack
from touchline_notifier.adapters.postgres.delivery_queue import PostgresDeliveryQueue
from touchline_notifier.application.delivering.deliver import DeliveryWorker
from touchline_notifier.application.delivering.pre_send_check import CheckBeforeSend
from touchline_notifier.core.delivery.endpoints import Endpoint
from touchline_notifier.core.profiles.address_hashes import Hashes
from touchline_runtime.errors import Unavailable

from tests.support.frozen_backends import frozen_while_idle
from tests.support.notifier.checks import PLAY
from tests.support.notifier.world import SECRET, Process, World
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.faults]
LIMITS = {"TOUCHLINE_DATABASE_COMMAND_TIMEOUT_SECONDS": "3", "TOUCHLINE_STALL_SECONDS": "4"}


async def readiness(process: Process) -> tuple[int, dict[str, str]]:
    async with httpx.AsyncClient(timeout=30) as client:
        response = await client.get(f"{process.url}/readyz")
    return response.status_code, response.json()["checks"]


async def reported(process: Process, *checks: str) -> dict[str, str]:
    """Wait until these checks fail, all of them; thirty seconds on any machine, since LIMITS make it some seconds."""

    async def failing() -> Any:
        status, found = await readiness(process)
        return found if status == 503 and all(found[check] != "ok" for check in checks) else None

    found: dict[str, str] = await wait_until(failing, f"{checks} fail", 30, exact=True)
    return found


async def acted_on(world: World, receiver: WebhookReceiver, customer: str) -> None:
    await world.touchpoint(customer)
    fact = await world.stalled(customer)

    async def sent() -> bool:
        return fact in {one.json["data"]["fact_id"] for one in receiver.arrived if one.verdict == "valid"}

    await wait_until(sent, f"{customer}'s stall is acted on")


@contextmanager
def company(world: World) -> Iterator[WebhookReceiver]:
    with WebhookReceiver([SECRET]) as receiver:
        world.crm(receiver)
        world.play(PLAY)
        yield receiver


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[TcpProxy]:
    address = urlsplit(database_url)
    assert address.hostname
    assert address.port
    async with TcpProxy(address.hostname, address.port).serve() as proxy:
        yield proxy


def behind(database_url: str, proxy: TcpProxy) -> str:
    address = urlsplit(database_url)
    return address._replace(netloc=f"{address.username}:{address.password}@127.0.0.1:{proxy.port}").geturl()


async def test_a_postgresql_that_answers_nobody_is_reported_and_work_goes_on_when_it_answers(
    world: World, proxy: TcpProxy
) -> None:
    with company(world) as receiver:
        url = behind(world.database_url, proxy)
        process = await world.start(**LIMITS, TOUCHLINE_DATABASE_URL=url).ready()
        await acted_on(world, receiver, "before")
        proxy.black_hole = True
        proxy.forget()
        checks = await reported(process, "postgresql", "deliveries")
        assert "no delivery could be claimed for" in checks["deliveries"]
        await reported(process, "reader")
        proxy.black_hole = False
        await acted_on(world, receiver, "after")
        await process.ready()
        assert process.popen.poll() is None


async def test_postgresql_processes_that_stop_are_replaced(world: World) -> None:
    with company(world) as receiver:
        process = await world.start(**LIMITS).ready()
        await acted_on(world, receiver, "before")
        pool = await world.database()
        rows = await pool.fetch(
            """SELECT pid FROM pg_stat_activity
            WHERE datname = current_database() AND application_name LIKE 'touchline-notifier%'"""
        )
        pids = [row["pid"] for row in rows]
        assert len(pids) >= 3
        async with frozen_while_idle(world.database_url, pids):
            await acted_on(world, receiver, "while they are stopped")
            await process.ready()
        assert process.popen.poll() is None


async def test_a_broker_that_stops_is_reported_and_work_goes_on_when_it_continues(world: World, stack: Stack) -> None:
    broker = next(part.pid for part in stack.status() if part.title == "Kafka")
    if broker is None:
        pytest.skip("this Kafka is not a process of ours: run on the embedded stack")
    with company(world) as receiver:
        process = await world.start(**LIMITS).ready()
        await acted_on(world, receiver, "before")
        os.kill(broker, signal.SIGSTOP)
        try:
            checks = await reported(process, "kafka", "reader")
            assert checks["postgresql"] == "ok"
            assert "Kafka" in checks["reader"]
        finally:
            os.kill(broker, signal.SIGCONT)
        await acted_on(world, receiver, "after")
        await process.ready()
        assert process.popen.poll() is None


async def test_the_delivery_workers_watchdog_reports_a_database_that_is_silent_to_it_alone(
    world: World, proxy: TcpProxy
) -> None:
    migrated = world.start("migrate")
    assert await asyncio.to_thread(migrated.popen.wait, 180) == 0, migrated.log.read_text()
    pool = await asyncpg.create_pool(
        behind(world.database_url, proxy), min_size=1, max_size=2, command_timeout=1, timeout=1,
        server_settings={"search_path": world.settings.search_path},
    )  # fmt: skip
    stopping = asyncio.Event()
    endpoint = Endpoint(name="crm", url="https://crm.example.org/hook", secret=(SECRET,))
    queue = PostgresDeliveryQueue(pool, Hashes("key"), CheckBeforeSend(), partitions=8)
    worker = DeliveryWorker(queue, {}, {"crm": endpoint}, stall_seconds=2.0)
    await worker.check()  # not started: not at fault
    running = asyncio.create_task(worker.run(stopping))

    async def fault() -> str:
        try:
            await worker.check()
        except Unavailable as error:
            return str(error)
        return ""

    async def well() -> bool:
        return not await fault()

    try:
        await asyncio.sleep(3)
        await wait_until(well, "an idle worker makes progress")
        proxy.black_hole = True
        proxy.forget()
        assert "no delivery could be claimed for" in await wait_until(fault, "it is reported")
        proxy.black_hole = False
        await wait_until(well, "it recovers")
    finally:
        stopping.set()
        proxy.black_hole = False
        await asyncio.wait_for(running, 60)
        pool.terminate()
