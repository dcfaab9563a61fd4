"""Topics with another number of partitions: what waits is decided and sent once, by its customer's new partition."""

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from touchline_devstack.receivers import WebhookReceiver
from touchline_notifier.adapters.kafka.topics import wanted_topics
from touchline_notifier.adapters.postgres.partitions.repartitioning import FILED_BY
from touchline_runtime.kafka.clients import Admin
from touchline_schemas.topics import TOPICS

from tests.support.notifier import world as notifier_world
from tests.support.notifier.waiting_actions import leave_waiting_actions
from tests.support.notifier.world import World
from tests.support.partitions import partition_of_client
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

CUSTOMERS = [f"c-{number}" for number in range(12)]
FILED = {"actions", "deliveries", "outbox", "audience_positions", "positions", "sequence_runs"}


async def create_topics_again(world: World, partitions: int) -> None:
    """As `touchline-stage-engine repartition` leaves them, but empty."""
    settings = world.settings.model_copy(update={"partitions": partitions})
    names = [topic.full_name(world.prefix) for topic in TOPICS if not topic.one_partition]
    admin = AIOKafkaAdminClient(bootstrap_servers=world.bootstrap)
    await admin.start()
    try:
        await admin.delete_topics(names)

        async def gone() -> bool:
            return not set(names) & set(await admin.list_topics())

        await wait_until(gone, "the topics are deleted")
    finally:
        await admin.close()
    async with Admin(settings, "test") as ours:
        await ours.ensure_topics(wanted_topics(settings))


@pytest.mark.parametrize("partitions", [5, 1])
async def test_waiting_actions_go_on_under_their_new_partitions(
    world: World, monkeypatch: pytest.MonkeyPatch, partitions: int
) -> None:
    with WebhookReceiver([notifier_world.SECRET]) as receiver:
        await leave_waiting_actions(world, receiver, CUSTOMERS)

        await create_topics_again(world, partitions)
        monkeypatch.setattr(notifier_world, "PARTITIONS", partitions)
        await world.start(TOUCHLINE_PARTITIONS=str(partitions)).ready()
        await world.await_actions(len(CUSTOMERS), "sent")
        assert sorted(arrived.json["data"]["customer_id"] for arrived in receiver.arrived) == sorted(CUSTOMERS)
        pool = await world.database()
        for table in ("actions", "deliveries"):
            for row in await pool.fetch(f"SELECT partition, customer_id FROM {table}"):
                assert row["partition"] == partition_of_client(row["customer_id"], partitions), table


async def test_every_table_with_partitions_is_known(world: World) -> None:
    """A table that is added has to be filed, too."""
    await world.start().ready()
    pool = await world.database()
    tables = await pool.fetch(
        "SELECT table_name FROM information_schema.columns "
        "WHERE table_schema = current_schema() AND column_name = 'partition'"
    )
    assert {row["table_name"] for row in tables} == FILED
    assert set(FILED_BY) == FILED - {"positions", "audience_positions"}
