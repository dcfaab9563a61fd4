"""A customer of 100,000 touchpoints: what is late is folded in without holding up those who share the partition."""

import json
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from touchline_schemas.partitions import partition_of
from touchline_schemas.times import from_micros, parse_micros

from tests.support.engine.expected import assert_sound, expected, now_micros, trial_fold, utc_now
from tests.support.engine.world import PARTITIONS, TYPES, World, touchpoint
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

MANY = 100_000
EVERY = 500
BIG = "big"
PARTITION = partition_of(BIG, PARTITIONS)
OTHERS = [name for name in (f"other{n}" for n in range(200)) if partition_of(name, PARTITIONS) == PARTITION][:20]


async def post_fast(world: World, touchpoints: Sequence[dict[str, Any]]) -> None:
    """Write one customer's touchpoints, whole Kafka batches at a time."""
    producer, topic = world.producer, world.topic("touchpoints")
    for begin in range(0, len(touchpoints), 50):
        batch = producer.create_batch()
        for one in touchpoints[begin : begin + 50]:
            taken = batch.append(key=BIG.encode(), value=json.dumps(one).encode(), timestamp=None)
            assert taken is not None, "fifty touchpoints fit into a batch"
        await producer.send_batch(batch, topic, partition=PARTITION)
    await producer.flush()


def the_past() -> list[dict[str, Any]]:
    """Half a year, a touchpoint every few minutes: no stalls, and many moves."""
    seed, begin = random.Random(3), utc_now() - timedelta(days=180)
    step = timedelta(days=179) / MANY
    return [
        touchpoint(
            f"t{n:06}", begin + n * step, type=(kind := seed.choice(TYPES)), customer_id=BIG,
            properties={"score": seed.randrange(11)} if kind == "survey_answered" else {},
        )
        for n in range(MANY)
    ]  # fmt: skip


def at(posted: dict[str, Any]) -> datetime:
    return from_micros(parse_micros(posted["occurred_at"]))


async def test_what_is_late_by_one_by_half_and_by_all_of_a_long_history_holds_nobody_up(world: World) -> None:
    posted = the_past()
    process = await world.running()
    await post_fast(world, posted)
    await world.folded(MANY)

    async def read_again() -> float:
        return await process.metric("touchline_touchpoints_read_again_total")

    async def said_of(customer_id: str) -> dict[str, Any]:
        (row,) = await world.sql("SELECT partition FROM customers WHERE customer_id = $1", customer_id)
        assert row["partition"] == PARTITION
        return dict(await world.get(f"/v1/customers/{customer_id}"))

    read, others = await read_again(), iter(OTHERS)
    moment = timedelta(seconds=1)
    first, middle, last = (at(posted[index]) for index in (0, MANY // 2, MANY - 1))
    cases = [
        # What changes nothing beyond the next checkpoint is met there, however long ago it was.
        ("one", touchpoint("late-one", last - moment, type="email_bounced", customer_id=BIG), 2 * EVERY),
        ("half", touchpoint("late-half", middle + moment, type="email_bounced", customer_id=BIG), 2 * EVERY),
        ("all", touchpoint("late-all", first - moment, type="email_bounced", customer_id=BIG), 4 * EVERY),
        # What makes a move more: every later number differs, so everything after it is read, once.
        ("moves", touchpoint("late-moves", middle + moment, type="complaint_made", customer_id=BIG), MANY),
    ]
    for index, (name, late, most) in enumerate(cases):
        posted.append(late)
        mine = [next(others) for _ in range(3)]
        theirs = [touchpoint(f"o-{who}", utc_now(), customer_id=who) for who in mine]
        await world.post([late, *theirs])
        await world.folded(MANY + 4 * (index + 1))

        async def reported(mine: list[str] = mine) -> bool:
            return {fact["customer_id"] for fact in await world.facts()} >= set(mine)

        await wait_until(reported, f"the others' facts are published while one is late by {name}")

        async def counted(so_far: float = read) -> bool:
            return await read_again() > so_far

        await wait_until(counted, f"what was read for one late by {name} is counted")
        before, read = read, await read_again()
        assert 0 < read - before <= most, f"late by {name}"

    (want,) = expected(posted, trial_fold(), now_micros()).values()
    got = await said_of(BIG)
    stage = got["stages"]["trial"]
    assert got["touchpoints"] == MANY + len(cases)
    assert {name: stage[name] for name in ("stage", "entered_at", "stalled_level")} == {
        name: want[name] for name in ("stage", "entered_at", "stalled_level")
    }
    (row,) = await world.sql("SELECT count(*) AS n, max(no) AS last FROM history WHERE customer_id = $1", BIG)
    assert (row["n"], row["last"]) == (want["facts"], want["facts"])
    (row,) = await world.sql("SELECT count(*) AS n FROM history WHERE customer_id = $1 AND fact = 'move'", BIG)
    moves = await world.sql(
        "SELECT sequence, from_stage, stage FROM history WHERE customer_id = $1 AND fact = 'move' ORDER BY no", BIG
    )
    assert [move["sequence"] for move in moves] == list(range(1, row["n"] + 1))
    assert [move["from_stage"] for move in moves] == [None, *(move["stage"] for move in moves[:-1])]
    assert_sound(await world.facts())
