"""A notifier starts again where nothing arrives. While the broker waits for records to answer a fetch, it answers no
other request of the connection, and a member of the group that sends no heartbeat for seconds is removed from it."""

from pathlib import Path

import pytest
from touchline_devstack.receivers import WebhookReceiver

from tests.support.notifier import world as notifier_world
from tests.support.notifier.waiting_actions import leave_waiting_actions
from tests.support.notifier.world import World

pytestmark = pytest.mark.stack

PARTITIONS = 24
CUSTOMERS = [f"c-{number}" for number in range(40)]


async def test_what_waits_is_sent_after_a_restart_without_traffic(
    kafka_bootstrap: str, database_url: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier_world, "PARTITIONS", PARTITIONS)
    async with World.open(kafka_bootstrap, database_url, topic_prefix, tmp_path) as world:
        with WebhookReceiver([notifier_world.SECRET]) as receiver:
            await leave_waiting_actions(world, receiver, CUSTOMERS)
            # By another name: it joins the group anew, and offsets are committed.
            await world.start(TOUCHLINE_WORKER_ID="another").ready()
            await world.await_actions(len(CUSTOMERS), "sent")
