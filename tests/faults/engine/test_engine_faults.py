"""Killed, frozen and cut off in the middle of work: every touchpoint is folded once, every fact published once."""

import asyncio
import random
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import asyncpg
import httpx
import pytest
from touchline_devstack.stack import Stack

from tests.support.engine.expected import assert_sound, expected, now_micros, random_touchpoints, trial_fold, utc_now
from tests.support.engine.world import Process, World, touchpoint
from tests.support.ports import free_port
from tests.support.waiting import patience, wait_until

pytestmark = [pytest.mark.stack, pytest.mark.faults]

TAKEOVER = 10.0 * patience()
"""Seconds within which somebody folds again after a kill, as promised; longer where everything takes longer."""


def a_life(seed: int, customers: int, each: int) -> list[dict[str, Any]]:
    """Touchpoints in a random order."""
    who = [{"customer_id": f"c{n}"} for n in range(customers)]
    return random_touchpoints(random.Random(seed), who, each, utc_now())


async def assert_folded_once(world: World, posted: Sequence[dict[str, Any]]) -> None:
    """Every touchpoint is there once, every customer stands where the set puts them, and the facts are sound."""
    await world.folded(len(posted))
    (row,) = await world.sql("SELECT count(*) AS n, count(DISTINCT (customer_id, id)) AS d FROM touchpoints")
    assert (row["n"], row["d"]) == (len(posted), len(posted))
    (row,) = await world.sql("SELECT sum(folded) AS n, sum(duplicates) AS d FROM partitions")
    assert (row["n"], row["d"]) == (len(posted), 0)
    wanted = expected(posted, trial_fold(), now_micros())

    async def published() -> bool:
        waiting = await world.sql("SELECT 1 FROM outbox LIMIT 1")
        asleep = await world.sql("SELECT 1 FROM customers WHERE wake_at <= $1 LIMIT 1", now_micros())
        return not waiting and not asleep

    await wait_until(published, "everything is published")
    rows = {row["customer_id"]: row for row in await world.sql("SELECT * FROM stages")}
    assert {key: row["stage"] for key, row in rows.items()} == {
        key: want["stage"] for key, want in wanted.items() if want["stage"]
    }
    last = assert_sound(await world.facts())
    assert {key[0]: move["to_stage"] for key, move in last.items()} == {key: row["stage"] for key, row in rows.items()}


async def owns(world: World, process: Process) -> bool:
    """Whether a process folds all partitions."""
    with suppress(httpx.HTTPError):
        return await process.metric("touchline_partitions_owned") == 4
    return False


async def has_logged(process: Process) -> bool:
    """Whether a process has written its first line."""
    return process.log.stat().st_size > 0


async def test_killed_in_the_middle_of_a_load_and_started_again_it_folds_on_within_ten_seconds(world: World) -> None:
    posted = a_life(1, 60, 40)
    world.environment["TOUCHLINE_BATCH_RECORDS"] = "40"
    port = free_port()
    process = world.start(port=port)
    await process.ready()
    sent, took = 0, []
    for _ in range(2):
        await world.post(posted[sent : sent + 500])
        await world.folded(sent + 100)
        process.signal(signal.SIGKILL)
        process.popen.wait()
        (before,) = await world.sql("SELECT sum(folded) AS n FROM partitions")
        await world.post(posted[sent + 500 : sent + 600])
        sent += 600
        process = world.start(port=port)
        # The ten seconds are the engine's: how long a busy machine takes to start an interpreter is not its own.
        await wait_until(partial(has_logged, process), "the process runs")
        running = time.monotonic()
        await world.folded(int(before["n"]) + 1)
        took.append(time.monotonic() - running)
    print(f"folding again after {[round(seconds, 1) for seconds in took]} s")
    assert max(took) < TAKEOVER
    process.signal(signal.SIGKILL)
    process.popen.wait()
    await world.post(posted[sent:])
    world.start(port=port)
    await assert_folded_once(world, posted)


async def test_killed_for_good_it_is_replaced_by_another_that_folds_on_within_ten_seconds(world: World) -> None:
    posted = a_life(6, 60, 30)
    world.environment["TOUCHLINE_BATCH_RECORDS"] = "40"
    victim, heir = await world.running(), await world.running()

    async def shared() -> bool:
        return [await one.metric("touchline_partitions_owned") for one in (victim, heir)] == [2, 2]

    await wait_until(shared, "the two share the partitions")
    await world.post(posted[:600])
    await world.folded(300)
    victim.signal(signal.SIGKILL)
    victim.popen.wait()
    killed = time.monotonic()
    await world.post(posted[600:])
    await world.folded(len(posted))
    took = time.monotonic() - killed
    print(f"replaced after {took:.1f} s")
    assert took < TAKEOVER
    await assert_folded_once(world, posted)


async def test_a_process_frozen_past_its_replacement_writes_nothing_when_it_wakes(world: World) -> None:
    posted = a_life(2, 40, 30)
    world.environment["TOUCHLINE_BATCH_RECORDS"] = "20"
    frozen = await world.running()
    await world.post(posted[:800])
    await world.folded(100)
    frozen.signal(signal.SIGSTOP)
    taker = await world.running()

    async def taken() -> bool:
        return await owns(world, taker)

    await wait_until(taken, "the other engine has all partitions")
    await world.folded(800)
    frozen.signal(signal.SIGCONT)
    await world.post(posted[800:])
    await assert_folded_once(world, posted)


async def test_a_process_frozen_inside_a_copy_is_replaced_by_ending_exactly_its_backend(world: World) -> None:
    posted = [touchpoint(f"t{n}", utc_now() - timedelta(hours=n), customer_id=f"c{n}") for n in range(40)]
    frozen = await world.running()
    await world.post(posted[:20])
    await world.folded(20)
    # The table is locked, so COPY waits for it with the position's row locked; frozen there, it never goes on.
    connection = await asyncpg.connect(
        world.database_url, server_settings={"search_path": f'"stage_engine_{world.prefix}"'}
    )
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("LOCK TABLE touchpoints IN EXCLUSIVE MODE")
        await world.post(posted[20:])

        async def copying() -> bool:
            rows = await world.sql(
                "SELECT 1 FROM pg_stat_activity WHERE query ILIKE 'COPY%touchpoints%' AND wait_event_type = 'Lock'"
            )
            return len(rows) >= 1

        await wait_until(copying, "an owner stands inside a COPY")
        frozen.signal(signal.SIGSTOP)
        # The lock stays: a backend that waits for it is not idle, so none of PostgreSQL's timeouts ends it.
        taker = world.start()
        await wait_until(lambda: "frozen_owner_ended" in taker.log.read_text(), "the backend of the owner is ended")
        await transaction.rollback()
    finally:
        await connection.close()
    await taker.ready()
    await world.folded(40)
    frozen.signal(signal.SIGCONT)
    await assert_folded_once(world, posted)


async def test_a_process_frozen_inside_a_publish_has_its_transaction_ended_and_published_once(world: World) -> None:
    posted = a_life(5, 60, 60)
    world.environment["TOUCHLINE_BATCH_RECORDS"] = "20"
    frozen = await world.running()
    async with world.open_transactions("stage-changes") as publishing:

        async def inside() -> bool:
            frozen.signal(signal.SIGSTOP)
            # What the broker was about to commit it commits by itself, and at once: look until it would have.
            for _ in range(50):
                if not await publishing():
                    frozen.signal(signal.SIGCONT)
                    return False
            return True

        await world.post(posted[:3000])
        await wait_until(inside, "it stands still between a publish and its commit")
        (row,) = await world.sql("SELECT sum(folded) AS n FROM partitions")
        assert row["n"] < 3000, "it stands still in the middle of the load"
        taker = await world.running()

        async def taken() -> bool:
            return await owns(world, taker)

        await wait_until(taken, "the other engine has all partitions")
        await world.folded(3000)
        frozen.signal(signal.SIGCONT)
        await world.post(posted[3000:])
        await assert_folded_once(world, posted)
        assert not await publishing()
    ids = [dict(record.headers)["ce_id"] for record in await world.records("stage-changes", "read_uncommitted")]
    assert len(set(ids)) < len(ids), "what it had published without a commit was published again"


async def test_it_outlives_a_database_and_a_broker_that_go_away(world: World, stack: Stack) -> None:
    posted = a_life(3, 40, 30)
    world.environment["TOUCHLINE_BATCH_RECORDS"] = "20"
    process = await world.running()
    await world.post(posted[:600])
    await world.folded(100)
    await asyncio.to_thread(stack.kill_postgres)
    try:

        async def not_ready() -> bool:
            async with httpx.AsyncClient(timeout=60) as client:
                answer = await client.get(f"http://127.0.0.1:{process.port}/readyz")
            return answer.status_code == 503

        await wait_until(not_ready, "it says that it can't work")
    finally:
        await asyncio.to_thread(stack.start_postgres)
    await process.ready()
    await world.folded(600)
    await world.post(posted[600:])
    await asyncio.to_thread(stack.kill_kafka)
    await asyncio.to_thread(stack.start_kafka)
    await process.ready()
    await assert_folded_once(world, posted)
    assert process.popen.poll() is None


async def test_two_workers_under_one_parent_share_the_partitions_and_end_with_it(world: World) -> None:
    posted = a_life(4, 30, 20)
    parent = await world.running("--workers", "2")

    async def shared() -> bool:
        return await owns(world, parent)

    await wait_until(shared, "the workers own all partitions")
    await world.post(posted)
    await assert_folded_once(world, posted)
    parent.signal(signal.SIGTERM)
    assert await parent.ended() == 0
