"""Killed at any point, a notifier does each step of a person's sequence once."""

import asyncio
import random
from collections import Counter

import pytest
from touchline_devstack.receivers import WebhookReceiver
from touchline_schemas.ids import step_action_id

from tests.support.notifier.world import SECRET, World
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.faults]

PEOPLE = 40
ONBOARDING = """
play: onboarding
when: {fact: stage-changed, lifecycle: service-cycle, stage: [acquisition]}
exit: false
steps:
  - send: {channel: webhook, endpoint: crm, subject: "Welcome {{ customer_id }}"}
  - wait: 1s
  - wait_until: {touchpoint: [demo_booked], within: 20s}
  - branch:
      on: happened
      then: [{send: {channel: webhook, endpoint: crm, subject: "See you {{ customer_id }}"}}]
      else: [{send: {channel: webhook, endpoint: crm, subject: "Call {{ customer_id }}"}}]
  - wait: 1s
  - send: {channel: webhook, endpoint: crm, subject: "Goodbye {{ customer_id }}"}
"""


async def test_a_notifier_killed_again_and_again_does_each_step_once(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        world.crm(receiver)
        world.play(ONBOARDING)
        process = await world.start(TOUCHLINE_WORKER_ID="the-one").ready()
        pool = await world.database()
        booked: set[str] = set()

        async def all_over() -> bool:
            return int(await pool.fetchval("SELECT count(*) FROM sequence_runs WHERE ended_at IS NOT NULL")) == PEOPLE

        async def post() -> None:
            for number in range(PEOPLE):
                await world.moved(f"c-{number}", "acquisition")
                await asyncio.sleep(0.05)

        async def book() -> None:
            """Every second person books a demo while the sequence waits for it, unless no notifier runs then."""
            while not await all_over():
                rows = await pool.fetch("SELECT customer_id FROM sequence_runs WHERE step = '3'")
                for customer in {row["customer_id"] for row in rows} - booked:
                    if int(customer[2:]) % 2 == 0:
                        booked.add(customer)
                        await world.touchpoint(customer, "demo_booked")
                await asyncio.sleep(0.1)

        async with asyncio.TaskGroup() as group:
            group.create_task(post())
            group.create_task(book())
            for _ in range(5):
                arrived = len(receiver.arrived)

                async def more(arrived: int = arrived) -> bool:
                    return len(receiver.arrived) > arrived + 5 or await all_over()

                await wait_until(more, seconds=120)
                await asyncio.sleep(random.random() * 0.5)  # anywhere in its work
                process.kill()
                process = world.start(TOUCHLINE_WORKER_ID="the-one")
        await wait_until(all_over, seconds=180)

        runs = {str(row["run_id"]): row for row in await pool.fetch("SELECT * FROM sequence_runs")}
        assert {row["end_code"] for row in runs.values()} == {"completed"}
        visits = await pool.fetch("SELECT run_id, step, left_at, result FROM sequence_visits")
        arm = {str(row["run_id"]): f"4.{row['result']}.1" for row in visits if row["step"] == "4"}
        assert set(arm.values()) == {"4.then.1", "4.else.1"}
        assert {runs[run_id]["customer_id"] for run_id, step in arm.items() if "then" in step} <= booked
        wanted = {str(step_action_id(run_id, step)) for run_id in runs for step in ("1", arm[run_id], "6")}
        actions = await pool.fetch("SELECT action_id, outcome FROM actions")
        assert {str(row["action_id"]): row["outcome"] for row in actions} == dict.fromkeys(wanted, "sent")
        # A receiver may see a repeat of what was under way when the process died, under the same id.
        assert {one.json["data"]["action_id"] for one in receiver.arrived} == wanted
        assert len({one.webhook_id for one in receiver.arrived}) == len(wanted)
        steps = Counter(str(row["run_id"]) for row in visits)
        assert steps == dict.fromkeys(runs, 7)
        assert all(row["left_at"] is not None for row in visits)

        async def published() -> bool:
            return len(await world.actions("sent")) >= len(wanted)

        await wait_until(published)
        events = Counter((one["action_id"], one["outcome"]) for one in await world.published())
        assert events == Counter({(ident, outcome): 1 for ident in wanted for outcome in ("decided", "sent")})
        in_order = sorted((one for one in await world.actions("sent")), key=lambda one: str(one["decided_at"]))
        for run_id in runs:
            assert [one["step"] for one in in_order if one["run_id"] == run_id] == ["1", arm[run_id], "6"]
