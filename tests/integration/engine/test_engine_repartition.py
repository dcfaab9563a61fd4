"""`repartition`: another number of partitions, whatever was interrupted, and every customer as before."""

import asyncio
import os
import random
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from touchline_stage_engine.adapters.postgres.repartitioning import FILED_BY

from tests.support.engine.expected import assert_sound, random_touchpoints, utc_now
from tests.support.engine.identity import agree
from tests.support.engine.world import PARTITIONS, Process, World, touchpoint
from tests.support.partitions import partition_of_client
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

BY_KEY = {
    "customers": "customer_id", "stages": "customer_id", "links": "key", "shared_keys": "key",
    "audience_members": "customer_id",
}  # fmt: skip
OTHERWISE = {
    "partitions", "catch_ups", "shared_key_limits", "erasures", "outbox", "touchpoint_outcomes", "audience_progress",
}  # fmt: skip
"""Tables with a partition that is not that of a key."""
NOT_FILED = {"erasure_receipts"}
"""Tables whose partition says who wrote a row, and by which nothing is found."""

CUSTOMERS = [
    {"customer_id": "ada"}, {"customer_id": "ada", "anonymous_id": "a1"}, {"anonymous_id": "a1"},
    {"customer_id": "bob", "email": "bob@example.org"}, {"email": "bob@example.org"}, {"anonymous_id": "a2"},
    {"customer_id": "eve", "email": "bob@example.org"}, {"customer_id": "zoë"}, {"external_id": "77"},
    *({"customer_id": f"c-{number}"} for number in range(20)),
]  # fmt: skip


async def create_audience(world: World) -> None:
    asked = {"name": "everybody", "title": "Everybody", "filter": {"lifecycle": "trial"}}
    async with httpx.AsyncClient(timeout=60) as client:
        answer = await client.post(f"http://127.0.0.1:{world.processes[-1].port}/v1/audiences", json=asked)
    assert answer.status_code == 201, answer.text


async def assert_members(world: World) -> None:
    """Every customer with a stage is a member, and each change was published once."""

    async def same() -> bool:
        members = await world.get("/v1/audiences/everybody/members?limit=1000")
        stages = await world.sql("SELECT customer_id FROM stages")
        return {one["customer_id"] for one in members["items"]} == {row["customer_id"] for row in stages}

    await wait_until(same, "every customer with a stage is a member")
    await world.published()
    changes = [orjson.loads(record.value) for record in await world.records("audience-changes")]
    told = [(one["customer_id"], one["incarnation"], one["change_no"]) for one in changes]
    assert len(set(told)) == len(told)


@asynccontextmanager
async def engine_of(world: World, partitions: int) -> AsyncIterator[Process]:
    """An engine that is stopped cleanly, with everything published."""
    engine = await world.running(TOUCHLINE_PARTITIONS=str(partitions))
    yield engine
    await world.published()
    engine.signal(signal.SIGTERM)
    assert await engine.ended() == 0, engine.log.read_text()


async def killed_after(world: World, target: int, lines: int, delay: float) -> bool:
    """Start the command, and kill it some time after it has printed that many lines; whether it had ended before."""
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "touchline_stage_engine.entrypoints.cli.main", "repartition", str(target),
        env=world.settings(), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert command.stderr is not None
    read = 0
    while read < lines and (line := await command.stderr.readline()):
        read += b"touchline" in line or b": " in line
    await asyncio.sleep(delay)
    if command.returncode is None:
        os.kill(command.pid, signal.SIGKILL)
    await command.wait()
    return command.returncode == 0


async def told(world: World) -> dict[str, dict[str, list[tuple[Any, ...]]]]:
    """Topic → key → what a subscriber reads, in order, but for where it lies."""
    found: dict[str, dict[str, list[tuple[Any, ...]]]] = {}
    for topic in ("touchpoints", "stage-changes", "audience-changes", "dead-letters"):
        by_key: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        for record in await world.records(topic):
            by_key[repr(record.key)].append((record.value, tuple(record.headers), record.timestamp))
        found[topic] = dict(by_key)
    return found


async def assert_filed(world: World, partitions: int) -> None:
    """Every row and every record is on its key's partition."""
    for table, column in BY_KEY.items():
        for row in await world.sql(f"SELECT partition, {column} AS key FROM {table}"):
            assert row["partition"] == partition_of_client(row["key"], partitions), (table, row)
    for topic in ("touchpoints", "stage-changes", "customer-stages"):
        for record in await world.records(topic):
            key = record.key.decode()
            key = key.rpartition("/")[0] if topic == "customer-stages" else key
            assert record.partition == partition_of_client(key, partitions), (topic, record)


async def test_nothing_changes_but_the_partitions(world: World) -> None:
    chance = random.Random(1)
    now = utc_now() - timedelta(minutes=5)
    posted = random_touchpoints(chance, CUSTOMERS, 8, now)
    later = [posted.pop() for _ in range(60)]
    filed = PARTITIONS

    async with engine_of(world, filed):
        await world.post(posted)
        await world.post([touchpoint("gone", now, customer_id="ursula")])
        await world.producer.send_and_wait(world.topic("touchpoints"), b"poison", key=b"ada")
        await world.folded(len(posted) + 2)
        await create_audience(world)
        erased = await asyncio.to_thread(world.command, "erase", "ursula", "--wait")
        assert erased.returncode == 0, erased.stderr
        await agree(world, posted)
        await assert_members(world)

    for target, kills in ((7, 2), (3, 1)):
        before, stages = await told(world), await world.latest_stages()
        for lines in chance.sample(range(1, 14), kills):
            if await killed_after(world, target, lines, chance.random() / 2):
                break
        done = await asyncio.to_thread(world.command, "repartition", str(target))
        assert done.returncode == 0, done.stderr
        assert (await told(world), await world.latest_stages()) == (before, stages)
        await assert_filed(world, target)
        filed = target

        await world.renew_producer()
        async with engine_of(world, filed):
            # New ones, late ones, repeated ones; and one of somebody erased.
            new, later = later[:30], later[30:]
            await world.post([*new, *chance.sample(posted, 20)])
            await world.post([touchpoint(f"back-{target}", now, customer_id="ursula")])
            posted += new
            await agree(world, posted)
            assert await world.get("/v1/customers/ursula") is None
            await assert_members(world)
        assert_sound(await world.facts())
        await assert_filed(world, filed)
        again = await asyncio.to_thread(world.command, "repartition", str(target))
        assert (again.returncode, "nothing to do" in again.stdout) == (0, True), again


async def test_a_deployment_that_is_not_at_rest_is_left_as_it_is(world: World) -> None:
    now = utc_now() - timedelta(minutes=5)

    def refused(target: int) -> str:
        done = world.command("repartition", str(target))
        assert done.returncode != 0, done.stdout
        return done.stderr

    assert "no engine has stored anything" in refused(7)
    async with engine_of(world, PARTITIONS):
        await world.post([touchpoint("t1", now, customer_id="ada")])
        await world.folded(1)
        assert "stop" in await asyncio.to_thread(refused, 7)
    await world.post([touchpoint("t2", now, customer_id="ada")])
    assert "not folded" in await asyncio.to_thread(refused, 7)
    assert (await world.sql("SELECT partitions, repartitioning FROM deployment"))[0]["repartitioning"] is None

    async with engine_of(world, PARTITIONS):
        await world.folded(2)
    await killed_after(world, 7, 1, 0)
    assert "under way" in await asyncio.to_thread(refused, 5)
    # No engine starts meanwhile, by either number.
    for number in (PARTITIONS, 7):
        started = world.start(TOUCHLINE_PARTITIONS=str(number))
        assert await started.ended() != 0
        assert "repartition" in started.log.read_text()
    done = await asyncio.to_thread(world.command, "repartition", "7")
    assert done.returncode == 0, done.stderr
    started = world.start(TOUCHLINE_PARTITIONS=str(PARTITIONS))
    assert await started.ended() != 0
    assert "TOUCHLINE_PARTITIONS=7" in started.log.read_text()


async def test_what_operators_set_for_a_topic_is_kept(world: World) -> None:
    async with engine_of(world, PARTITIONS):
        await world.post([touchpoint("t1", utc_now() - timedelta(minutes=5), customer_id="ada")])
        await world.folded(1)
    name = world.topic("stage-changes")
    admin = AIOKafkaAdminClient(bootstrap_servers=world.bootstrap)
    await admin.start()
    try:
        wanted = {"retention.ms": "123456789000", "segment.bytes": "10485760"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, wanted)])
        done = await asyncio.to_thread(world.command, "repartition", "5")
        assert done.returncode == 0, done.stderr
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
        found = {entry[0]: entry[1] for *_, entries in answer.resources for entry in entries}
        assert {key: found[key] for key in wanted} == wanted
        assert not [topic for topic in await admin.list_topics() if topic.endswith(".repartition")]
    finally:
        await admin.close()


async def test_every_table_with_partitions_is_known(world: World) -> None:
    """A table that is added has to be filed, too."""
    assert world.command("migrate").returncode == 0
    tables = await world.sql(
        "SELECT table_name FROM information_schema.columns "
        "WHERE table_schema = current_schema() AND column_name = 'partition'"
    )
    assert {row["table_name"] for row in tables} == set(BY_KEY) | OTHERWISE | NOT_FILED
    assert FILED_BY == BY_KEY
