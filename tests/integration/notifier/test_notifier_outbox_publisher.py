"""The outbox publisher on a real Kafka and a real PostgreSQL: what a predecessor published is not published again."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from pydantic import SecretStr
from touchline_notifier import bootstrap
from touchline_notifier.adapters.kafka.outbox_publisher import KafkaOutboxPublisher
from touchline_notifier.adapters.kafka.topics import Inputs
from touchline_notifier.adapters.postgres import outbox
from touchline_notifier.adapters.postgres.partitions.lease import acquire
from touchline_notifier.application.ports import PartitionLease
from touchline_notifier.core.decisions.outbox_records import Outgoing
from touchline_notifier.settings import NotifierSettings
from touchline_schemas.partitions import partition_of
from touchline_schemas.topics import RETENTION_ACTIONS, TOUCHPOINTS

from tests.support.notifier.world import World

pytestmark = pytest.mark.stack

CUSTOMER = "c-1"
PARTITION = partition_of(CUSTOMER, 2)

FAIL_TO_FORGET = """
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'cut off here'; END $$;
CREATE TRIGGER cut_off BEFORE DELETE ON outbox EXECUTE FUNCTION fail()
"""


@pytest.fixture
async def settings(world: World) -> NotifierSettings:
    """A notifier's settings, its tables made."""
    made = world.settings.model_copy(update={"database_url": SecretStr(world.database_url)})
    await bootstrap.migrate(made)
    return made


@pytest.fixture
async def connection(world: World, settings: NotifierSettings) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy]:
    """A publisher's connection."""
    pool = await world.database()
    async with pool.acquire() as lent:
        yield lent


async def write(connection: asyncpg.Connection, topic: str, *numbers: int) -> None:
    events = [Outgoing(topic, CUSTOMER, [("n", b"1")], b'{"number": %d}' % number) for number in numbers]
    await outbox.append(connection, PARTITION, events)


async def numbers(world: World, topic: str) -> list[int]:
    return [int(one["number"]) for one in await world.published(f"{world.prefix}.{topic}.v1")]


async def successor(
    settings: NotifierSettings, connection: asyncpg.Connection
) -> tuple[PartitionLease, KafkaOutboxPublisher]:
    lease = await acquire(connection, Inputs("here", "touchpoints", "facts", "audiences"), PARTITION)
    return lease, KafkaOutboxPublisher(settings, connection, lease)


async def test_what_was_committed_and_not_forgotten_is_not_published_again(
    world: World, settings: NotifierSettings, connection: asyncpg.Connection
) -> None:
    _, first = await successor(settings, connection)
    await write(connection, RETENTION_ACTIONS.name, 1, 2)
    # The last of the transaction goes to another topic: what an action's delivery adds to the timeline.
    await write(connection, TOUCHPOINTS.name, 3)
    await connection.execute(FAIL_TO_FORGET)
    with pytest.raises(asyncpg.RaiseError, match="cut off here"):
        await first.publish()
    assert await connection.fetchval("SELECT count(*) FROM outbox WHERE publish_no IS NOT NULL") == 3
    await connection.execute("DROP TRIGGER cut_off ON outbox")

    _, second = await successor(settings, connection)
    await write(connection, RETENTION_ACTIONS.name, 4)
    assert await second.publish() == 1
    assert await numbers(world, RETENTION_ACTIONS.name) == [1, 2, 4]
    assert await numbers(world, TOUCHPOINTS.name) == [3]
    assert await connection.fetchval("SELECT count(*) FROM outbox") == 0
    await first.close()
    await second.close()


async def test_what_was_numbered_and_not_committed_is_published_by_the_successor_once(
    world: World, settings: NotifierSettings, connection: asyncpg.Connection
) -> None:
    _, first = await successor(settings, connection)
    await write(connection, RETENTION_ACTIONS.name, 1)
    assert await first.publish() == 1
    await write(connection, RETENTION_ACTIONS.name, 2, 3)
    owned, second = await successor(settings, connection)
    # Numbered by a publisher that was stopped then.
    await connection.execute("UPDATE outbox SET publish_no = $1 + id", owned.last_publish_no)
    await write(connection, RETENTION_ACTIONS.name, 4)
    assert await second.publish() == 3
    assert await numbers(world, RETENTION_ACTIONS.name) == [1, 2, 3, 4]
    await first.close()
    await second.close()


async def test_a_database_restored_from_a_backup_counts_on_from_what_the_topics_have(
    world: World, settings: NotifierSettings, connection: asyncpg.Connection
) -> None:
    _, before = await successor(settings, connection)
    await write(connection, RETENTION_ACTIONS.name, 1, 2, 3)
    assert await before.publish() == 3
    # As the backup has it, which was made before any of these.
    await connection.execute("UPDATE positions SET last_publish_no = 0")

    _, restored = await successor(settings, connection)
    assert await restored.publish() == 0
    await write(connection, RETENTION_ACTIONS.name, 4)
    # It dies between numbering and publishing: its numbers must not be taken for published ones.
    await restored._rows.number(500)
    _, last = await successor(settings, connection)
    assert await last.publish() == 1
    assert await numbers(world, RETENTION_ACTIONS.name) == [1, 2, 3, 4]
    for publisher in (before, restored, last):
        await publisher.close()
