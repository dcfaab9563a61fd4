"""Kind: customers who leave memory between two of their touchpoints, and come back from the database."""

import random

import pytest

from tests.support.engine.expected import assert_sound, expected, now_micros, random_touchpoints, trial_fold, utc_now
from tests.support.engine.world import World
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

CACHED = 100
CUSTOMERS = 600


async def test_customers_who_were_evicted_end_where_the_sorted_set_puts_them(world: World) -> None:
    world.environment |= {"TOUCHLINE_CACHED_CUSTOMERS": str(CACHED), "TOUCHLINE_BATCH_RECORDS": "60"}
    seed = random.Random(7)
    posted = random_touchpoints(seed, [{"customer_id": f"c{n}"} for n in range(CUSTOMERS)], 6, utc_now())
    again = seed.sample(posted, 300)
    engine = await world.running()
    most = 0.0
    for begin in range(0, len(posted), 1200):
        await world.post(posted[begin : begin + 1200])
        await world.folded(begin + 1200 if begin + 1200 < len(posted) else len(posted))
        most = max(most, await engine.metric("touchline_cached_customers"))
    assert 0 < most <= CACHED, "the cache is shared by the partitions, and never larger than it may be"
    # What memory has forgotten is still known as a repetition.
    await world.post(again)
    await world.folded(len(posted) + len(again))
    (row,) = await world.sql("SELECT sum(duplicates) AS n FROM partitions")
    assert row["n"] == len(again)

    async def same() -> bool:
        wanted = expected(posted, trial_fold(), now_micros())
        rows = {row["customer_id"]: row["stage"] for row in await world.sql("SELECT customer_id, stage FROM stages")}
        return rows == {key: want["stage"] for key, want in wanted.items() if want["stage"]}

    await wait_until(same, "every customer stands where the sorted set puts them")
    assert_sound(await world.facts())
