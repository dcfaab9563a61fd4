"""Kind: a gauge that shows what it was, or nothing, instead of what is."""

from contextlib import suppress
from datetime import UTC, datetime

import asyncpg
import httpx
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tests.support.engine.world import PARTITIONS, Process, World, touchpoint
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack
START = datetime(2026, 3, 1, tzinfo=UTC)
NUMBER = 40


async def post(world: World, tag: str) -> None:
    await world.post([touchpoint(f"{tag}-{n}", START, customer_id=f"{tag}-{n}") for n in range(NUMBER)])


async def shows(process: Process, name: str, value: float, what: str) -> None:
    async def shown() -> bool:
        with suppress(httpx.TransportError):  # it does not listen yet
            return await process.metric(name) == value
        return False

    await wait_until(shown, f"{name} is {value:g}: {what}")


async def test_records_in_a_batch_that_the_database_does_not_take_are_counted_as_lag(world: World) -> None:
    process = await world.running()
    await post(world, "before")
    await world.folded(NUMBER)
    await shows(process, "touchline_lag_records", 0, "all are folded")
    path = {"search_path": f'"stage_engine_{world.prefix}"'}
    connection = await asyncpg.connect(world.database_url, server_settings=path)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE customers IN ACCESS EXCLUSIVE MODE")
            await post(world, "after")
            await shows(process, "touchline_lag_records", NUMBER, "they are read and not folded")
    finally:
        await connection.close()
    await shows(process, "touchline_lag_records", 0, "all are folded")


async def limit_facts(world: World, size: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=world.bootstrap)
    await admin.start()
    try:
        limits = {"max.message.bytes": str(size)}
        await admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, world.topic("stage-changes"), configs=limits)]
        )
    finally:
        await admin.close()


async def waiting_facts(world: World, process: Process) -> None:
    (row,) = await world.sql("SELECT sum(last_outbox_id - relayed_through)::int AS n FROM partitions")
    assert row["n"] >= NUMBER
    await shows(process, "touchline_outbox_waiting_records", row["n"], "none is published")
    await shows(process, "touchline_partitions_waiting", PARTITIONS, "no partition can be published")


async def test_facts_that_kafka_refuses_are_counted_as_waiting_for_as_long_as_they_wait(world: World) -> None:
    process = await world.running()
    # Less than a fact, and more than the marker that ends a transaction.
    await limit_facts(world, 200)
    await post(world, "new")
    await world.folded(NUMBER)
    await shows(process, "touchline_partitions_waiting", PARTITIONS, "no partition can be published")
    await waiting_facts(world, process)
    process.popen.terminate()
    await process.ended()
    # The next process finds them in the table.
    process = world.start()
    await waiting_facts(world, process)
    process.popen.terminate()
    await process.ended()
    await limit_facts(world, 1 << 20)
    process = await world.running()
    await shows(process, "touchline_partitions_owned", PARTITIONS, "all are assigned")
    await shows(process, "touchline_outbox_waiting_records", 0, "all are published")
    entered = [fact["customer_id"] for fact in await world.facts() if fact.get("move") == "enter"]
    assert sorted(entered) == sorted(f"new-{n}" for n in range(NUMBER))
