"""What an operator does by command line, and what a start says that can't be."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from touchline_devstack.receivers import Answer, WebhookReceiver

from tests.support.notifier.world import SECRET, Process, World
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

PLAY = """
play: calls
when: {fact: customer-stalled, lifecycle: service-cycle}
action: {channel: webhook, endpoint: crm, body: "{{ customer_id }}"}
"""


async def ended(process: Process) -> tuple[int, str]:
    """Exit code and output."""
    return await asyncio.to_thread(process.popen.wait, 180), process.log.read_text()


async def test_an_endpoint_that_answered_410_is_listed_and_opened_again_by_command(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        receiver.answer = lambda arrived: Answer(410)
        world.crm(receiver)
        world.play(PLAY)
        await world.start().ready()
        await world.stalled("c-1")
        await world.await_actions(1, "failed")
        code, message = await ended(world.start("endpoints", "list", "--json"))
        assert code == 0
        (line,) = [json.loads(line) for line in message.splitlines() if line.startswith('{"endpoint"')]
        assert line["endpoint"] == "crm"
        assert line["disabled_at"]
        assert line["disabled_reason"].startswith("answered 410")
        code, message = await ended(world.start("endpoints", "list"))
        assert "disabled" in message

        receiver.answer = lambda arrived: Answer(204)
        code, message = await ended(world.start("endpoints", "enable", "crm", "erp"))
        assert code == 2
        assert "there is no endpoint 'erp': there are crm" in message
        assert (await ended(world.start("endpoints", "enable", "crm")))[0] == 0
        pool = await world.database()
        failed = await pool.fetchval("SELECT id FROM deliveries WHERE status = 'failed'")
        assert (await ended(world.start("replay", str(failed))))[0] == 0
        await world.stalled("c-2")
        sent = await world.await_actions(2, "sent")
        assert {one["customer_id"] for one in sent} == {"c-1", "c-2"}
        code, message = await ended(world.start("endpoints", "list", "--json"))
        assert '"disabled_at":null' in message


async def test_a_play_with_two_mistakes_is_told_of_both_at_once(world: World) -> None:
    world.play(PLAY.replace("service-cycle", "service-circle"))
    process = world.start()

    async def message() -> bool:
        text = process.log.read_text()
        return (
            "play.yaml:3: when.lifecycle: there is no lifecycle 'service-circle': known are courtship" in text
            and "play.yaml:4: action.endpoint: there is no endpoint 'crm'" in text
        )

    await wait_until(message, seconds=60)
    assert process.stop() == 0


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

        await wait_until(both)
        assert len(await world.actions()) == 2


async def test_a_whole_endpoint_is_replayed_by_command_after_a_look_at_what_it_would_be(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        receiver.answer = lambda arrived: Answer(410)
        world.crm(receiver)
        world.play(PLAY)
        await world.start().ready()
        await world.stalled("c-1")
        await world.await_actions(1, "failed")
        for number in range(2, 5):
            await world.stalled(f"c-{number}")
        await world.settled()
        pool = await world.database()

        async def waiting() -> bool:
            rows = await pool.fetch("SELECT status, attempts FROM deliveries WHERE customer_id <> 'c-1'")
            return [tuple(row) for row in rows] == [("pending", 0)] * 3

        # A 410 disables the endpoint; what waits is not failed for it, and never attempted.
        await wait_until(waiting)
        code, message = await ended(world.start("replay", "--endpoint", "crm", "--dry-run"))
        assert code == 0
        assert "1 failed deliveries to crm would be tried again" in message
        assert "c-1" in message
        assert "crm is disabled, and gets nothing: touchline-notifier endpoints enable crm" in message
        assert await pool.fetchval("SELECT count(*) FROM deliveries WHERE status = 'failed'") == 1
        code, message = await ended(world.start("replay", "--endpoint", "crm", "--since", "2099-01-01"))
        assert (code, "0 failed deliveries" in message) == (0, True)
        receiver.answer = lambda arrived: Answer(204)
        assert (await ended(world.start("replay", "--endpoint", "crm", "--status", "failed")))[0] == 0
        assert (await ended(world.start("endpoints", "enable", "crm")))[0] == 0
        sent = await world.await_actions(4, "sent")
        assert {one["customer_id"] for one in sent} == {"c-1", "c-2", "c-3", "c-4"}
        for wrong in (["--endpoint", "erp"], ["--endpoint", "crm", "--since", "noon"], [], ["--dry-run"]):
            code, message = await ended(world.start("replay", *wrong))
            assert code == 2, message
        code, message = await ended(world.start("endpoints", "list"))
        assert "answered 410" in message
        assert "closed" in message


async def test_a_pause_decides_nothing_again_until_it_ends(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        world.crm(receiver)
        world.play(PLAY)
        await world.start().ready()
        assert (await ended(world.start("pause", "a holiday")))[0] == 0
        for number in range(5):
            await world.stalled(f"c-{number}")
        await world.await_actions(5, "held")
        pool = await world.database()
        asked = "SELECT action_id, xmin::text, decide_at FROM actions ORDER BY action_id"
        before = await pool.fetch(asked)
        # Held until they are too old, a day from now: each was looked at once, and is not again.
        assert all((row["decide_at"] - datetime.now(UTC)) > timedelta(hours=23) for row in before)
        await asyncio.sleep(2)
        assert await pool.fetch(asked) == before
        assert (await ended(world.start("resume")))[0] == 0
        await world.await_actions(5, "sent")
        assert len(receiver.arrived) == 5
