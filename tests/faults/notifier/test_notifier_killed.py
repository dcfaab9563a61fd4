"""Killed at any point, no action is decided or published twice, and none is lost."""

import asyncio
import random
import signal
from collections import Counter
from typing import Any

import pytest
from notifier_world import SECRET, World, eventually
from touchline_devstack.receivers import WebhookReceiver

pytestmark = [pytest.mark.stack, pytest.mark.faults]

PLAY = """
play: win-back
when: {fact: customer-stalled, lifecycle: service-cycle}
action: {channel: webhook, endpoint: crm, body: "{{ customer_id }}"}
"""
CUSTOMERS = 150


async def post(world: World, facts: list[str]) -> None:
    for number in range(CUSTOMERS):
        await world.touchpoint(f"c-{number}")
        facts.append(await world.stalled(f"c-{number}"))
        if number % 5 == 0:
            await asyncio.sleep(0.1)


async def everything_sent(world: World, facts: list[str]) -> list[dict[str, Any]]:
    async def all_sent() -> list[dict[str, Any]]:
        events = await world.actions()
        return events if sum(one["outcome"] == "sent" for one in events) >= len(facts) else []

    return list(await eventually(all_sent, seconds=120))


def check(events: list[dict[str, Any]], facts: list[str], receiver: WebhookReceiver) -> None:
    """Every fact one decision and one delivery, each published once and in order; webhooks repeat only their ids."""
    assert Counter(one["outcome"] for one in events) == {"decided": len(facts), "sent": len(facts)}
    assert len({one["_headers"]["ce_id"] for one in events}) == len(events)
    by_action: dict[str, list[str]] = {}
    for one in events:
        by_action.setdefault(one["action_id"], []).append(one["outcome"])
    assert set(map(tuple, by_action.values())) == {("decided", "sent")}
    assert {one["fact_id"] for one in events} == set(facts)
    whole = [one for one in receiver.arrived if one.verdict == "valid"]
    assert {one.json["data"]["fact_id"] for one in whole} == set(facts)
    assert len({one.webhook_id for one in whole}) == len(facts)
    # Whoever is killed in the middle of a request leaves half of one.
    broken = [one for one in receiver.arrived if one.verdict != "valid"]
    assert all(len(one.body) < int(one.headers["content-length"]) for one in broken)


async def test_one_notifier_killed_again_and_again(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        world.crm(receiver)
        world.play(PLAY)
        facts: list[str] = []
        process = await world.start(TOUCHLINE_WORKER_ID="the-one").ready()
        posting = asyncio.create_task(post(world, facts))
        for _ in range(4):
            so_far = len(receiver.arrived)
            await eventually(lambda so_far=so_far: _some(lambda: len(receiver.arrived) > so_far + 10))
            await asyncio.sleep(random.random() * 0.3)  # anywhere in its work
            process.kill()
            process = world.start(TOUCHLINE_WORKER_ID="the-one")
        await posting
        check(await everything_sent(world, facts), facts, receiver)


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
        await eventually(lambda: _some(lambda: len(receiver.arrived) > 10))
        first.kill()
        third = world.start()
        await eventually(lambda: _some(lambda: len(receiver.arrived) > 40), seconds=60)
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
        await eventually(lambda: _some(lambda: len(receiver.arrived) > 10))
        frozen.popen.send_signal(signal.SIGSTOP)
        await world.start().ready()
        await eventually(lambda: _some(lambda: len(receiver.arrived) > 60), seconds=90)
        frozen.popen.send_signal(signal.SIGCONT)
        await posting
        events = await everything_sent(world, facts)
        check(events, facts, receiver)
