"""Killed at any point, no action is decided or published twice, and none is lost."""

import asyncio
import random
import signal
from functools import partial
from typing import Any

import pytest
from touchline_devstack.receivers import WebhookReceiver

from tests.support.notifier.checks import CUSTOMERS, PLAY, check, everything_sent
from tests.support.notifier.world import SECRET, World
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.faults]


async def post(world: World, facts: list[str]) -> None:
    for number in range(CUSTOMERS):
        await world.touchpoint(f"c-{number}")
        facts.append(await world.stalled(f"c-{number}"))
        if number % 5 == 0:
            await asyncio.sleep(0.1)


async def test_one_notifier_killed_again_and_again(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        world.crm(receiver)
        world.play(PLAY)
        facts: list[str] = []
        process = await world.start(TOUCHLINE_WORKER_ID="the-one").ready()
        posting = asyncio.create_task(post(world, facts))
        for _ in range(4):
            so_far = len(receiver.arrived)
            await wait_until(partial(_more_arrived, receiver, so_far + 10))
            await asyncio.sleep(random.random() * 0.3)  # anywhere in its work
            process.kill()
            process = world.start(TOUCHLINE_WORKER_ID="the-one")
        await posting
        check(await everything_sent(world, facts), facts, receiver)


def _more_arrived(receiver: WebhookReceiver, number: int) -> bool:
    return len(receiver.arrived) > number


async def _some(condition: Any) -> bool:
    return bool(condition())


async def test_two_notifiers_killed_in_turn(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        world.crm(receiver)
        world.play(PLAY)
        facts: list[str] = []
        first, second = world.start(), world.start()
        await first.ready()
        await second.ready()
        posting = asyncio.create_task(post(world, facts))
        await wait_until(lambda: _some(lambda: len(receiver.arrived) > 10))
        first.kill()
        third = world.start()
        await wait_until(lambda: _some(lambda: len(receiver.arrived) > 40), seconds=60)
        second.kill()
        await posting
        check(await everything_sent(world, facts), facts, receiver)
        assert third.popen.poll() is None


async def test_a_frozen_notifier_that_wakes_up_after_it_was_replaced_writes_nothing(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        world.crm(receiver)
        world.play(PLAY)
        facts: list[str] = []
        frozen = await world.start().ready()
        posting = asyncio.create_task(post(world, facts))
        await wait_until(lambda: _some(lambda: len(receiver.arrived) > 10))
        frozen.popen.send_signal(signal.SIGSTOP)
        await world.start().ready()
        await wait_until(lambda: _some(lambda: len(receiver.arrived) > 60), seconds=90)
        frozen.popen.send_signal(signal.SIGCONT)
        await posting
        events = await everything_sent(world, facts)
        check(events, facts, receiver)
