"""The runtime against the real Kafka and PostgreSQL: topics made once, migrations run once, failures explained."""

import asyncio

import asyncpg
import pytest
from touchline_devstack.stack import Stack
from touchline_runtime.config.settings import ServiceSettings, read_settings
from touchline_runtime.database import pools as database
from touchline_runtime.errors import ConfigurationError, Unavailable
from touchline_runtime.kafka import clients as kafka


@pytest.fixture
def settings(stack: Stack, database_url: str, topic_prefix: str) -> ServiceSettings:
    return read_settings(
        ServiceSettings,
        kafka_bootstrap_servers=stack.kafka_bootstrap,
        database_url=database_url,
        topic_prefix=topic_prefix,
        startup_timeout_seconds=60,
    )


async def test_services_that_start_together_make_a_topic_once(settings: ServiceSettings) -> None:
    wanted = [kafka.WantedTopic(f"{settings.topic_prefix}.touchpoints.v1", 3, {"cleanup.policy": "delete"})]

    async def start() -> None:
        async with kafka.Admin(settings, "test") as admin:
            await admin.ensure_topics(wanted)

    await asyncio.gather(start(), start(), start())
    async with kafka.Admin(settings, "test") as admin:
        (described,) = await admin.client.describe_topics([wanted[0].name])
    assert len(described["partitions"]) == 3


async def test_another_partition_count_is_an_error_that_says_what_to_do(settings: ServiceSettings) -> None:
    name = f"{settings.topic_prefix}.touchpoints.v1"
    async with kafka.Admin(settings, "test") as admin:
        await admin.ensure_topics([kafka.WantedTopic(name, 3, {})])
        with pytest.raises(ConfigurationError, match="set TOUCHLINE_PARTITIONS=3"):
            await admin.ensure_topics([kafka.WantedTopic(name, 4, {})])


async def test_a_consumer_never_jumps_silently_over_what_is_gone(settings: ServiceSettings) -> None:
    from aiokafka import TopicPartition
    from aiokafka.errors import OffsetOutOfRangeError

    name = f"{settings.topic_prefix}.touchpoints.v1"
    async with kafka.Admin(settings, "test") as admin:
        await admin.ensure_topics([kafka.WantedTopic(name, 1, {})])
    async with kafka.producer(settings, "test") as producer:
        await producer.send_and_wait(name, b"one", partition=0)
    async with kafka.consumer(settings, "test") as consumer:
        partition = TopicPartition(name, 0)
        consumer.assign([partition])
        consumer.seek(partition, 100)
        with pytest.raises(OffsetOutOfRangeError):
            async with asyncio.timeout(120):
                await consumer.getone()


async def test_no_broker_is_said_with_the_setting_to_look_at(settings: ServiceSettings) -> None:
    nowhere = settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1", "startup_timeout_seconds": 0.1})
    with pytest.raises(Unavailable, match="TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS"):
        async with kafka.Admin(nowhere, "test"):
            pass


MIGRATIONS = {
    "env.py": "from touchline_runtime.database.pools import run_migrations\n\nrun_migrations()\n",
    "versions/0001_first.py": (
        'revision = "0001"\ndown_revision = None\n\n'
        "from alembic import op\n\n\n"
        'def upgrade():\n    op.execute("CREATE TABLE things (id integer PRIMARY KEY)")\n'
    ),
}


async def test_services_that_start_together_migrate_once(
    settings: ServiceSettings, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("packages")
    for path, text in MIGRATIONS.items():
        file = folder / "migrations_of_a_test" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (folder / "migrations_of_a_test/__init__.py").touch()
    monkeypatch.syspath_prepend(str(folder))

    migrations = [database.migrate(settings, package="migrations_of_a_test", schema="a_service") for _ in range(3)]
    await asyncio.gather(*migrations)
    await database.migrate(settings, package="migrations_of_a_test", schema="a_service")

    async with database.pool(settings, application_name="test", search_path="a_service") as pool:
        assert await pool.fetchval("SELECT count(*) FROM things") == 0
        assert await pool.fetchval("SELECT version_num FROM alembic_version") == "0001"
    async with database.pool(settings, application_name="test") as pool:
        with pytest.raises(asyncpg.UndefinedTableError):
            await pool.fetchval("SELECT count(*) FROM things")


async def test_a_database_that_does_not_exist_is_a_wrong_setting(settings: ServiceSettings) -> None:
    wrong = read_settings(
        ServiceSettings, database_url=settings.database_url.get_secret_value().rsplit("/", 1)[0] + "/nowhere"
    )
    with pytest.raises(ConfigurationError, match=r"TOUCHLINE_DATABASE_URL.*nowhere"):
        async with database.pool(wrong, application_name="test"):
            pass
