"""``preview`` on the facts of the topic and the profiles of the database."""

import json

import pytest

from tests.support.notifier.world import World

pytestmark = pytest.mark.stack

PLAY = """
play: mails
when: {fact: customer-stalled, lifecycle: service-cycle}
if: {profile: {traits.plan: pro}}
action: {channel: email, subject: Hello, body: Hello}
delay: 1h
"""


async def test_recorded_facts_are_shown_with_every_limit_and_nothing_is_sent(world: World) -> None:
    running = await world.start().ready()
    await world.touchpoint("c-1", "identified", properties={"plan": "pro"})
    await world.touchpoint("c-2", "identified", properties={"plan": "free"})
    await world.stalled("c-1")
    await world.stalled("c-2")
    await world.settled()
    running.stop()
    world.play(PLAY)
    for arguments, customers in ((["preview", "--json"], ["c-1"]), (["preview", "--json", "--customer", "c-2"], [])):
        process = world.start(*arguments)
        assert process.popen.wait(180) == 0, process.log.read_text()
        lines = [json.loads(line) for line in process.log.read_text().splitlines() if line.startswith('{"at"')]
        assert [one["customer_id"] for one in lines] == customers
        assert [limit["code"] for one in lines for limit in one["limits"]] == ["no_address", "delay"] * len(lines)
    assert await world.published() == []
