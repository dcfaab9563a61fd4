"""A notifier starts again where nothing arrives. While the broker waits for records to answer a fetch, it answers no
other request of the connection, and a member of the group that sends no heartbeat for seconds is removed from it."""

from pathlib import Path

import pytest
from touchline_devstack.receivers import WebhookReceiver

from tests.support.notifier import world as notifier_world
from tests.support.notifier.world import World
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

PLAY = """
play: win-back
when: {fact: customer-stalled, lifecycle: service-cycle, stage: [retention]}
action: {channel: webhook, endpoint: crm, body: "{{ customer_id }}"}
limits: {max_age: 10d}
"""
PARTITIONS = 24
CUSTOMERS = [f"c-{number}" for number in range(40)]


async def test_what_waits_is_sent_after_a_restart_without_traffic(
    kafka_bootstrap: str, database_url: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier_world, "PARTITIONS", PARTITIONS)
    async with World.open(kafka_bootstrap, database_url, topic_prefix, tmp_path) as world:
        with WebhookReceiver([notifier_world.SECRET]) as receiver:
            world.crm(receiver)
            world.play(PLAY)
            first = await world.start(TOUCHLINE_SENDING="false").ready()
            for customer in CUSTOMERS:
                await world.moved(customer, "retention")
                await world.stalled(customer)
            await world.await_actions(len(CUSTOMERS), "held")
            assert first.stop() == 0
            # By another name: it joins the group anew, and offsets are committed.
            await world.start(TOUCHLINE_WORKER_ID="another").ready()

            async def all_sent() -> bool:
                return len(await world.actions("sent")) == len(CUSTOMERS)

            await wait_until(all_sent, "every action is sent")
