"""Kind: a topic is deleted and created again. What is on the new one is read, however many records it has."""

import pytest
from aiokafka.errors import KafkaError
from touchline_notifier.adapters.kafka.topics import ensure_topics
from touchline_runtime.errors import Unavailable
from touchline_runtime.kafka.clients import Admin
from touchline_schemas.topics import STAGE_CHANGES, TOUCHPOINTS, Topic

from tests.support.notifier.world import World
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

PLAY = """
play: win-back
when: {fact: customer-stalled}
action: {endpoint: crm, body: "Come back"}
"""


async def recreate(world: World, *topics: Topic) -> None:
    """Delete topics and create them again, with other ids."""
    names = [topic.full_name(world.prefix) for topic in topics]
    async with Admin(world.settings, "test") as admin:
        before = await ensure_topics(admin, world.settings)
        await admin.client.delete_topics(names)

        async def created() -> bool:
            try:
                return await ensure_topics(admin, world.settings) != before
            except (KafkaError, Unavailable):
                return False  # the broker is still deleting

        await wait_until(created, f"{names} exist again")


@pytest.mark.parametrize("topics", [(TOUCHPOINTS,), (STAGE_CHANGES,), (TOUCHPOINTS, STAGE_CHANGES)])
async def test_everything_on_a_topic_that_was_made_anew_is_read(world: World, topics: tuple[Topic, ...]) -> None:
    world.endpoints("endpoints: [{name: crm, url: 'http://127.0.0.1:9/', secret: {env: CRM_SECRET}}]")
    world.play(PLAY)
    running = await world.start().ready()
    for number in range(4):
        await world.touchpoint(f"old-{number}")
        await world.stalled(f"old-{number}")
    await world.await_actions(4, "decided")
    await world.settled()
    assert running.stop() == 0
    pool = await world.database()
    epochs = "SELECT epoch FROM positions ORDER BY partition"
    before = [row["epoch"] for row in await pool.fetch(epochs)]

    await recreate(world, *topics)
    # More records than the old topic had: an old offset would lie in the middle of them.
    for number in range(20):
        await world.touchpoint(f"new-{number}", email=f"new-{number}@example.org")
        await world.stalled(f"new-{number}")
    await world.start().ready()
    await world.settled()
    known = {row["customer_id"] for row in await pool.fetch("SELECT customer_id FROM profiles")}
    assert {f"new-{number}" for number in range(20)} <= known
    acted = [one["customer_id"] for one in await world.await_actions(24, "decided")]
    assert sorted(acted) == sorted([f"old-{n}" for n in range(4)] + [f"new-{n}" for n in range(20)])
    assert [row["epoch"] for row in await pool.fetch(epochs)] == [epoch + 1 for epoch in before]
