"""Keys link and merge across partitions, in whatever order their links arrive."""

import random
from datetime import timedelta
from typing import Any

import pytest

from tests.support.engine.expected import (
    assert_sound,
    expected,
    now_micros,
    random_touchpoints,
    roots_of,
    trial_fold,
    utc_now,
)
from tests.support.engine.identity import agree
from tests.support.engine.world import World, key_of, touchpoint
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack


async def test_chains_circles_and_refused_links_in_random_order_end_as_kruskal_says(world: World) -> None:
    seed = random.Random(5)
    anonymous: list[dict[str, str]] = [{"anonymous_id": f"a{n}"} for n in range(10)]
    anonymous += [{"email": f"e{n}@example.org"} for n in range(6)]
    known = [{"customer_id": f"c{n}"} for n in range(5)]
    now = utc_now()
    posted = random_touchpoints(seed, [*known, *anonymous], 5, now)
    for number in range(22):
        one, other = seed.choice([*known, *anonymous]), seed.choice(anonymous)
        if one.keys() != other.keys():
            at = now - timedelta(days=seed.randrange(1, 190), seconds=number)
            posted.append(touchpoint(f"link{number}", at, type="form_submitted", **(one | other)))
    seed.shuffle(posted)
    await world.running()
    half = len(posted) // 2
    await world.post(posted[:half])
    await world.folded(half)
    await world.post([*posted[half:], *seed.sample(posted, 10)])
    await world.folded(len(posted) + 10)
    assert len(roots_of(posted)[1]) >= 1, "the case has a refused link"
    await agree(world, posted)
    await world.published()

    facts = await world.facts()
    assert_sound(facts)
    roots, _ = roots_of(posted)
    merged = {fact["customer_id"]: fact["into"] for fact in facts if fact["ce_type"] == "touchline.customer-merged"}
    assert merged == {key: root for key, root in roots.items() if key != root}
    latest = await world.latest_stages()
    here = {name.removesuffix("/trial") for name, stage in latest.items() if stage is not None}
    assert here == {key for key, want in expected(posted, trial_fold(), now_micros()).items() if want["stage"]}


async def test_an_anonymous_past_becomes_the_customers_and_later_visits_follow_as_they_come(world: World) -> None:
    now = utc_now()
    past = [touchpoint(f"p{n}", now - timedelta(days=10 - n), anonymous_id="a") for n in range(2)]
    sign_up = touchpoint("s", now - timedelta(days=3), type="signed_up", customer_id="c", anonymous_id="a")
    after = touchpoint("later", now - timedelta(days=1), anonymous_id="a")
    await world.running()
    await world.post(past)
    await world.folded(2)
    await world.post([sign_up])
    await agree(world, [*past, sign_up])
    await world.post([after])
    await agree(world, [*past, sign_up, after])
    await world.published()

    moves = [fact for fact in await world.facts() if fact["customer_id"] == "c" and "to_stage" in fact]
    # The third view in twenty days, by the rule and not as a correction: plays may act on it.
    assert [(move["to_stage"], move["reason"]["kind"]) for move in moves] == [("reach", "rule"), ("try", "rule")]
    assert moves[-1]["reason"]["touchpoint_id"] == "later"
    where = await world.get("/v1/touchpoints/shop/later")
    assert (where["status"], where["customer_id"]) == ("merged", "c")


@pytest.mark.parametrize("leaving", ["a", "b"])
async def test_what_two_aliases_brought_under_one_id_stays_when_one_turns_out_to_be_somebody_elses(
    world: World, leaving: str
) -> None:
    now = utc_now()
    both = [touchpoint(f"v{n}", now - timedelta(days=20 - n), anonymous_id=who) for who in ("a", "b") for n in range(3)]
    links = [
        touchpoint(f"is-c-{who}", now - timedelta(days=5), type="signed_up", customer_id="c", anonymous_id=who)
        for who in ("a", "b")
    ]
    await world.running()
    await world.post(both)
    await world.folded(len(both))
    await world.post(links)
    await agree(world, [*both, *links])
    assert (await world.get("/v1/customers/c"))["touchpoints"] == 3 + 2
    # An older link: it was somebody else all the time.
    older = touchpoint("is-d", now - timedelta(days=30), type="signed_up", customer_id="d", anonymous_id=leaving)
    await world.post([older])
    await agree(world, [*both, *links, older])
    (row,) = await world.sql("SELECT count(*) AS n FROM touchpoints WHERE customer_id = 'c' AND id LIKE 'v%'")
    assert row["n"] == 3
    assert_sound(await world.facts())


async def test_a_customers_own_content_counts_again_when_the_alias_whose_smaller_one_counted_leaves(
    world: World,
) -> None:
    now = utc_now()
    own = [
        touchpoint("t", now - timedelta(days=3), customer_id="c", type="page_viewed"),
        touchpoint("is-c", now - timedelta(days=2), customer_id="c", anonymous_id="a", type="signed_up"),
    ]
    theirs = touchpoint("t", now - timedelta(days=9), anonymous_id="a", type="complaint_made")
    older = touchpoint("is-d", now - timedelta(days=30), customer_id="d", anonymous_id="a", type="signed_up")
    await world.running()
    await world.post([*own, theirs])

    async def taken() -> bool:
        found = await world.get("/v1/customers/c/touchpoints")
        return found is not None and [one["type"] for one in found["items"]] == ["complaint_made", "signed_up"]

    await wait_until(taken, "the alias's smaller content counts")
    await world.post([older])

    async def own_again() -> bool:
        found = await world.get("/v1/customers/c/touchpoints")
        return [one["type"] for one in found["items"]] == ["page_viewed", "signed_up"]

    await wait_until(own_again, "the customer's own content counts")
    theirs_too = await world.get("/v1/customers/d/touchpoints")
    assert [one["type"] for one in theirs_too["items"]] == ["signed_up", "complaint_made"]
    assert (await world.get("/v1/customers/c"))["stages"]["trial"]["stage"] == "reach"
    (row,) = await world.sql("SELECT sum(folded) AS n, sum(duplicates) AS d FROM partitions")
    assert (row["n"], row["d"]) == (4, 0)
    assert_sound(await world.facts())


@pytest.mark.parametrize("rival", [False, True])
@pytest.mark.parametrize("batches", ["first U, then W", "U and W at once", "first W, then U"])
async def test_a_link_goes_when_the_touchpoint_that_made_it_gives_way_to_a_smaller_content(
    world: World, batches: str, rival: bool
) -> None:
    now = utc_now()
    before = [
        touchpoint("z", now - timedelta(days=60), anonymous_id="z"),
        touchpoint("y", now - timedelta(days=59), email="y@example.org"),
        # Depends on z: y belongs to the same customer as z.
        touchpoint("zy", now - timedelta(days=58), anonymous_id="z", email="y@example.org"),
    ]
    if rival:
        before.append(touchpoint("is-q", now - timedelta(days=20), customer_id="q", anonymous_id="z"))
    links = touchpoint("u", now - timedelta(days=40), customer_id="p", anonymous_id="z", type="signed_up")
    smaller = touchpoint("u", now - timedelta(days=41), customer_id="p", type="signed_up")
    await world.running()
    await world.post(before)
    await world.folded(len(before))
    if batches == "first U, then W":
        await world.post([links])
        await agree(world, [*before, links])
        await world.post([smaller])
    elif batches == "first W, then U":
        await world.post([smaller])
        await world.folded(len(before) + 1)
        await world.post([links])
    else:
        await world.post([links, smaller])
    await world.folded(len(before) + 2)
    await agree(world, [*before, smaller])
    assert_sound(await world.facts())


async def test_what_a_customers_own_touchpoint_links_counts_where_an_aliass_content_counts(world: World) -> None:
    now = utc_now()
    first = [
        touchpoint("is-c", now - timedelta(days=20), customer_id="c", anonymous_id="a", type="signed_up"),
        touchpoint("t", now - timedelta(days=9), anonymous_id="a", type="complaint_made"),
        touchpoint("b", now - timedelta(days=8), anonymous_id="b"),
    ]
    own = touchpoint("t", now - timedelta(days=3), customer_id="c", anonymous_id="b", type="page_viewed")
    await world.running()
    await world.post(first)
    await agree(world, first)
    await world.post([own])
    await agree(world, [*first, own])


async def test_a_touchpoint_as_large_as_a_record_may_be_is_handed_over_like_any_other(world: World) -> None:
    now = utc_now()
    # Quotation marks: in JSON, and in JSON within JSON, each takes more than one byte.
    large = touchpoint("large", now - timedelta(days=3), anonymous_id="a", properties={"words": '"' * 500_000})
    link = touchpoint("is-c", now - timedelta(days=2), customer_id="c", anonymous_id="a", type="signed_up")
    later = touchpoint("later", now - timedelta(days=1), anonymous_id="a", properties={"words": '"' * 500_000})
    await world.running()
    await world.post([large])
    await world.folded(1)
    await world.post([link])
    await agree(world, [large, link])
    await world.post([later])
    await agree(world, [large, link, later])
    assert_sound(await world.facts())


async def test_erasing_by_an_alias_removes_the_whole_person_and_drops_the_past_from_then_on(world: World) -> None:
    now = utc_now() - timedelta(minutes=1)
    posted = [
        touchpoint("t1", now - timedelta(days=9), anonymous_id="a"),
        touchpoint("t2", now - timedelta(days=8), customer_id="c", anonymous_id="a"),
        touchpoint("t3", now - timedelta(days=7), customer_id="c"),
        touchpoint("o1", now - timedelta(days=7), customer_id="other"),
    ]
    await world.running()
    await world.post(posted)
    await agree(world, posted)
    done = world.command("erase", "anon:a")
    assert done.returncode == 0, done.stderr

    async def gone() -> bool:
        tables = ("customers", "touchpoints", "history", "stages", "aliases", "checkpoints")
        left = 0
        for table in tables:
            column = "customer_id"
            rows = await world.sql(f"SELECT count(*) AS n FROM {table} WHERE {column} IN ('c', 'anon:a')")
            left += rows[0]["n"]
        return left == 0

    await wait_until(gone, "nothing of the person is left")

    async def reported() -> set[str]:
        facts = await world.facts()
        erased = {fact["customer_id"] for fact in facts if fact["ce_type"] == "touchline.customer-erased"}
        return erased if erased == {"c", "anon:a"} else set()

    await wait_until(reported, "both keys' erasure is published")
    await world.published()
    assert (await world.latest_stages())["c/trial"] is None
    assert (await world.get("/v1/customers/other"))["touchpoints"] == 1

    await world.post([touchpoint("t4", now - timedelta(days=1), customer_id="c")])
    await world.folded(len(posted) + 1)
    assert await gone(), "what is dropped names nobody again"
    await world.post([touchpoint("t5", utc_now() + timedelta(seconds=1), customer_id="c")])

    async def anew() -> Any:
        return await world.get("/v1/customers/c")

    found = await wait_until(anew, "a later touchpoint begins a new incarnation")
    assert found["touchpoints"] == 1
    (row,) = await world.sql("SELECT sum(erased) AS n FROM partitions")
    assert row["n"] == 1

    async def entered() -> list[dict[str, Any]]:
        return [fact for fact in await world.facts() if fact["customer_id"] == "c" and fact["incarnation"] == 1]

    facts = await wait_until(entered, "the new life is published")
    assert [(fact["fact_no"], fact["sequence"], fact["to_stage"]) for fact in facts] == [(1, 1, "reach")]


def test_the_case_is_filed_under_several_partitions() -> None:
    from touchline_schemas.partitions import partition_of

    from tests.support.engine.world import PARTITIONS

    keys = ["anon:a", "c"]
    assert len({partition_of(key, PARTITIONS) for key in keys}) == 2
    assert key_of(touchpoint("x", utc_now(), customer_id="c", anonymous_id="a")) == "c"
