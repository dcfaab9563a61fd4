"""Whatever the order, the split into batches and the repetitions: the engine ends where the sorted set does."""

import random
from typing import Any

import pytest

from tests.support.engine.expected import assert_sound, expected, now_micros, random_touchpoints, trial_fold, utc_now
from tests.support.engine.world import World, touchpoint
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack


async def agree(world: World, posted: list[dict[str, Any]]) -> None:
    """Wait until the query API says of every customer what the sorted set gives."""
    fold = trial_fold()

    async def same() -> bool:
        wanted = expected(posted, fold, now_micros())
        for key, want in wanted.items():
            got = await world.get(f"/v1/customers/{key}")
            if got is None or got["customer_id"] != key or got["touchpoints"] != want["touchpoints"]:
                return False
            stage = got["stages"].get("trial")
            if want["stage"] is None:
                if stage is not None:
                    return False
            elif stage is None or {name: stage[name] for name in ("stage", "entered_at", "stalled_level")} != {
                name: want[name] for name in ("stage", "entered_at", "stalled_level")
            }:
                return False
        return True

    await wait_until(same, "every customer stands where the sorted set puts them")


async def test_shuffled_repeated_and_late_touchpoints_end_where_the_sorted_ones_do(world: World) -> None:
    seed = random.Random(41)
    now = utc_now()
    posted = random_touchpoints(seed, [{"customer_id": f"c{n}"} for n in range(25)], 24, now)
    portions = [posted[:200], posted[200:400], posted[400:]]
    await world.running()
    sent = 0
    for portion in portions:
        again = seed.sample(portion, 10)
        await world.post([*portion, *again])
        sent += len(portion) + len(again)
        await world.folded(sent)
    await agree(world, posted)
    await world.published()

    last = assert_sound(await world.facts())
    latest = await world.latest_stages()
    wanted = expected(posted, trial_fold(), now_micros())
    for key, want in wanted.items():
        assert last[key, "trial"]["to_stage"] == want["stage"]
        newest = latest[f"{key}/trial"]
        assert newest is not None
        assert {name: newest[name] for name in ("stage", "entered_at", "stalled_level")} == {
            name: want[name] for name in ("stage", "entered_at", "stalled_level")
        }
        assert newest["sequence"] == last[key, "trial"]["sequence"]
        (row,) = await world.sql("SELECT count(*) AS n, max(no) AS last FROM history WHERE customer_id = $1", key)
        assert (row["n"], row["last"]) == (want["facts"], want["facts"] or None)
    (row,) = await world.sql("SELECT sum(duplicates) AS n FROM partitions")
    assert row["n"] == 30


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_of_two_contents_under_one_id_the_smaller_stays_whichever_came_first(
    world: World, order: tuple[int, int]
) -> None:
    now = utc_now()
    early = touchpoint("t1", now.replace(year=2020), customer_id="c1", type="complaint_made")
    late = touchpoint("t1", now.replace(year=2021), customer_id="c1", type="page_viewed")
    both = (early, late)
    await world.running()
    await world.post([both[order[0]]])
    await world.folded(1)
    await world.post([both[order[1]]])
    await world.folded(2)
    await agree(world, [early])
    got = await world.get("/v1/customers/c1")
    assert got["last_touchpoint_at"].startswith("2020-")
    (row,) = await world.sql("SELECT sum(conflicts) AS n FROM partitions")
    assert row["n"] == 1


async def test_a_long_history_is_folded_again_from_a_checkpoint(world: World) -> None:
    seed = random.Random(7)
    world.environment["TOUCHLINE_CHECKPOINT_EVERY"] = "20"
    posted = random_touchpoints(seed, [{"customer_id": "c1"}], 300, utc_now())
    posted.sort(key=lambda one: one["occurred_at"])
    late, rest = posted[250], posted[:250] + posted[251:]
    process = await world.running()
    await world.post(rest)
    await world.folded(len(rest))
    before = await world.sql("SELECT count(*) AS n FROM checkpoints")
    assert before[0]["n"] >= 10
    await world.post([late])
    await world.folded(len(posted))
    await agree(world, posted)
    assert await process.metric("touchline_touchpoints_late_total") >= 1
    assert_sound(await world.facts())


async def test_poison_goes_to_dead_letters_and_its_neighbours_are_folded(world: World) -> None:
    good = touchpoint("t1", utc_now(), customer_id="c1")
    await world.running()
    topic = world.topic("touchpoints")
    await world.producer.send_and_wait(topic, b"{broken", key=b"c1", headers=[("source", b"old")])
    await world.producer.send_and_wait(topic, b'{"id": "no more"}', key=b"c1")
    await world.post([good])
    await world.producer.send_and_wait(topic, None, key=b"c1")
    await world.folded(4)
    await agree(world, [good])

    async def letters() -> list[Any]:
        found = await world.records("dead-letters")
        return found if len(found) == 3 else []

    found = await wait_until(letters, "three dead letters are there")
    reasons = {dict(letter.headers)["reason"].decode(): letter for letter in found}
    assert set(reasons) == {"not_json", "invalid_touchpoint", "no_value"}
    broken = reasons["not_json"]
    assert broken.value == b"{broken"
    assert dict(broken.headers)["source"] == b"old"
    assert dict(broken.headers)["origin"].decode().startswith(f"{topic}/")
