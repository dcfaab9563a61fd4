"""Frozen or killed inside a publish: the next owner publishes each action once, and the frozen one nothing more."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from touchline_schemas.topics import RETENTION_ACTIONS

from tests.support.notifier.world import PARTITIONS, SECRET, Process, World
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.faults]

WAITING = """
play: later
when: {fact: customer-stalled, lifecycle: service-cycle}
action: {channel: webhook, endpoint: crm, body: "later"}
delay: 2h
"""
CUSTOMERS = 4000


async def stalls(world: World, customers: range) -> set[str]:
    """Facts, each of which is to become one published action."""
    return set(await asyncio.gather(*(world.stalled(f"c-{number}") for number in customers)))


def waiting_play(world: World) -> None:
    world.endpoints(f"endpoints: [{{name: crm, url: 'https://crm.example.org/', secret: {SECRET}}}]")
    world.play(WAITING)


async def each_once(world: World, facts: set[str]) -> None:
    """Wait until every fact's action is published, and look that none is twice."""

    async def all_there() -> bool:
        return {one["fact_id"] for one in await world.actions("held")} >= facts

    await wait_until(all_there, seconds=90)
    counted = Counter(one["fact_id"] for one in await world.actions())
    assert set(counted) == facts
    assert set(counted.values()) == {1}


@asynccontextmanager
async def watching(world: World, isolation: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of the actions."""
    consumer = AIOKafkaConsumer(bootstrap_servers=world.bootstrap, isolation_level=isolation, group_id=None)
    await consumer.start()
    topic = RETENTION_ACTIONS.full_name(world.prefix)
    consumer.assign([TopicPartition(topic, number) for number in range(PARTITIONS)])
    await consumer.seek_to_beginning()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def freeze_inside_a_transaction(world: World, process: Process) -> set[str]:
    """Stop the process at a moment when Kafka holds records of it that are not committed.

    Returns the facts that were posted meanwhile, so that it never runs out of work before it was met at such a moment.
    """
    more: set[str] = set()
    async with watching(world, "read_uncommitted") as all_records, watching(world, "read_committed") as committed:
        for _ in range(200):
            empty = 0
            while not any((await all_records.getmany(timeout_ms=20)).values()):
                assert process.popen.poll() is None, process.log.read_text()
                empty += 1
                if empty % 500 == 0:
                    more |= await stalls(world, range(10_000 + len(more), 11_000 + len(more)))
            process.popen.send_signal(signal.SIGSTOP)
            places = all_records.assignment()
            if await committed.end_offsets(places) != await all_records.end_offsets(places):
                return more
            process.popen.send_signal(signal.SIGCONT)
        raise AssertionError("it was never found inside a transaction")


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "frozen"])
async def test_the_next_owner_publishes_the_whole_of_a_half_published_transaction(world: World, killed: bool) -> None:
    waiting_play(world)
    facts = await stalls(world, range(CUSTOMERS))
    first = world.start()
    facts |= await freeze_inside_a_transaction(world, first)
    if killed:
        first.kill()
    await world.start().ready()
    await each_once(world, facts)
    if not killed:
        first.popen.send_signal(signal.SIGCONT)
        facts |= await stalls(world, range(CUSTOMERS, CUSTOMERS + 50))
        await each_once(world, facts)
        assert first.popen.poll() is None


WAIT_BEFORE_FORGETTING = """
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$;
CREATE TRIGGER wait BEFORE DELETE ON outbox EXECUTE FUNCTION wait()
"""


async def test_an_owner_frozen_between_commit_and_clearing_is_replaced_although_its_relay_holds_the_lock(
    world: World,
) -> None:
    waiting_play(world)
    frozen = await world.start().ready()
    connection = await asyncpg.connect(world.database_url, server_settings={"search_path": world.settings.search_path})
    try:
        await connection.execute(WAIT_BEFORE_FORGETTING)
        await connection.execute("SELECT pg_advisory_lock(1)")
        facts = await stalls(world, range(10))

        async def makes_no_progress() -> int:
            waiting = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            return int(await connection.fetchval(waiting) or 0)

        backend = await wait_until(makes_no_progress)
        frozen.popen.send_signal(signal.SIGSTOP)
        taker = world.start()

        async def ended() -> bool:
            return not await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", backend)

        await wait_until(ended, seconds=60)
        await connection.execute("SELECT pg_advisory_unlock(1)")
    finally:
        await connection.close()
    await taker.ready()
    frozen.popen.send_signal(signal.SIGCONT)
    facts |= await stalls(world, range(10, 30))
    await each_once(world, facts)
