"""Kafka or PostgreSQL gone in the middle of work: it says so, goes on by itself, and every action is done once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from touchline_devstack.receivers import Answer, WebhookReceiver
from touchline_devstack.stack import Stack

from tests.support.notifier.checks import CUSTOMERS, PLAY, check, everything_sent
from tests.support.notifier.world import SECRET, Process, World
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.faults]


async def post(world: World, customers: range, facts: list[str]) -> None:
    for number in customers:
        await world.touchpoint(f"c-{number}")
        facts.append(await world.stalled(f"c-{number}"))


async def says_that_it_can_not_work(process: Process) -> bool:
    async with httpx.AsyncClient(timeout=60) as client:
        alive = await client.get(f"{process.url}/healthz")
        ready = await client.get(f"{process.url}/readyz")
    return alive.status_code == 200 and ready.status_code == 503


@asynccontextmanager
async def in_the_middle_of_work(world: World) -> AsyncIterator[Process]:
    """A notifier with half of its facts, some of which it has acted on; afterwards the others come, and all is done."""
    with WebhookReceiver([SECRET]) as receiver:
        receiver.answer = lambda arrived: Answer(pause_seconds=0.1)
        world.crm(receiver)
        world.play(PLAY)
        process = await world.start().ready()
        facts: list[str] = []
        half = CUSTOMERS // 2
        await post(world, range(half), facts)

        async def under_way() -> bool:
            return len(receiver.arrived) > 10

        await wait_until(under_way)
        yield process
        await post(world, range(half, CUSTOMERS), facts)
        check(await everything_sent(world, facts), facts, receiver)
        await process.ready()
        assert process.popen.poll() is None


@pytest.mark.parametrize("server", ["kafka", "postgres"])
@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_server_goes_away_in_the_middle_of_work_and_comes_back(
    world: World, stack: Stack, server: str, how: str
) -> None:
    async with in_the_middle_of_work(world) as process:
        await asyncio.to_thread(getattr(stack, f"{how}_{server}"))
        try:
            await wait_until(lambda: says_that_it_can_not_work(process))
        finally:
            await asyncio.to_thread(getattr(stack, f"start_{server}"))


async def test_kafka_away_for_longer_than_the_relay_has_patience(world: World, stack: Stack) -> None:
    """The session ends, and as many new ones begin as it takes."""
    async with in_the_middle_of_work(world) as process:

        async def given_up() -> bool:
            return "session_ended" in process.log.read_text()

        await asyncio.to_thread(stack.kill_kafka)
        try:
            await wait_until(given_up, seconds=60)
        finally:
            await asyncio.to_thread(stack.start_kafka)
