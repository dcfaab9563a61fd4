"""What an operator does by command line, and what a start says that can't be."""

import asyncio
import json

import pytest
from notifier_world import SECRET, Process, World, eventually
from touchline_devstack.receivers import Answer, WebhookReceiver

pytestmark = pytest.mark.stack

PLAY = """
play: calls
when: {fact: customer-stalled, lifecycle: service-cycle}
action: {channel: webhook, endpoint: crm, body: "{{ customer_id }}"}
"""


async def ended(process: Process) -> tuple[int, str]:
    """Exit code and output."""
    return await asyncio.to_thread(process.popen.wait, 60), process.log.read_text()


async def test_an_endpoint_that_answered_410_is_listed_and_opened_again_by_command(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        receiver.answer = lambda arrived: Answer(410)
        world.crm(receiver)
        world.play(PLAY)
        await world.start().ready()
        await world.stalled("c-1")
        await world.await_actions(1, "failed")
        code, said = await ended(world.start("endpoints", "list", "--json"))
        assert code == 0
        (line,) = [json.loads(line) for line in said.splitlines() if line.startswith('{"endpoint"')]
        assert line["endpoint"] == "crm"
        assert line["disabled_at"]
        assert line["disabled_reason"].startswith("answered 410")
        code, said = await ended(world.start("endpoints", "list"))
        assert "disabled" in said

        receiver.answer = lambda arrived: Answer(204)
        code, said = await ended(world.start("endpoints", "enable", "crm", "erp"))
        assert code == 2
        assert "there is no endpoint 'erp': there are crm" in said
        assert (await ended(world.start("endpoints", "enable", "crm")))[0] == 0
        pool = await world.database()
        failed = await pool.fetchval("SELECT id FROM deliveries WHERE status = 'failed'")
        assert (await ended(world.start("replay", str(failed))))[0] == 0
        await world.stalled("c-2")
        sent = await world.await_actions(2, "sent")
        assert {one["customer_id"] for one in sent} == {"c-1", "c-2"}
        code, said = await ended(world.start("endpoints", "list", "--json"))
        assert '"disabled_at":null' in said


async def test_a_play_with_two_mistakes_is_told_of_both_at_once(world: World) -> None:
    world.play(PLAY.replace("service-cycle", "service-circle"))
    code, said = await ended(world.start())
    assert code == 2
    assert "play.yaml:3: when.lifecycle: there is no lifecycle 'service-circle': known are courtship" in said
    assert "play.yaml:4: action.endpoint: there is no endpoint 'crm'" in said


async def test_deployments_with_prefixes_of_their_own_share_a_database_and_nothing_else(world: World) -> None:
    """The same customer, lifecycle and play in both: whatever one did is no news to the other."""
    with WebhookReceiver([SECRET]) as receiver:
        world.crm(receiver)
        world.play(PLAY)
        await world.start().ready()
        await world.stalled("c-1")
        await world.await_actions(1, "sent")
        async with World.open(world.bootstrap, world.database_url, f"{world.prefix}-two", world.folder / "two") as two:
            two.crm(receiver)
            two.play(PLAY)
            await two.start().ready()
            await two.stalled("c-1")
            await two.await_actions(1, "sent")

        async def both() -> bool:
            return len(receiver.arrived) == 2

        await eventually(both)
        assert len(await world.actions()) == 2
