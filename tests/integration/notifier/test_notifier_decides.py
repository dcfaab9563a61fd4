"""The notifier as a process of its own: facts in, actions on the topic and at the endpoint."""

import pytest
from notifier_world import SECRET, World
from touchline_devstack.receivers import WebhookReceiver

pytestmark = pytest.mark.stack

WIN_BACK = """
play: win-back
when: {fact: customer-stalled, lifecycle: service-cycle, stage: [retention], level: 1}
action: {channel: webhook, endpoint: crm, subject: "Come back", body: "We miss you, {{ customer_id }}"}
limits: {max_age: 24h}
"""


async def test_a_stall_becomes_one_signed_webhook_and_two_events(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        world.crm(receiver)
        world.play(WIN_BACK)
        await world.start().ready()
        fact = await world.stalled("c-1")
        decided, sent = await world.await_actions(2)

        assert [decided["outcome"], sent["outcome"]] == ["decided", "sent"]
        assert [decided["sequence"], sent["sequence"]] == [1, 2]
        assert decided["_headers"]["ce_type"] == "touchline.action-decided"
        assert sent["_headers"]["ce_type"] == "touchline.action-delivered"
        assert decided["fact_id"] == fact
        assert decided["stage"] == "retention"
        (arrived,) = receiver.arrived
        assert arrived.json["type"] == "touchline.action"
        assert arrived.json["data"]["body"] == "We miss you, c-1"
        assert arrived.json["data"]["action_id"] == decided["action_id"]
        assert receiver.counts() == {"valid": 1, "invalid": 0, "duplicates": 0}
