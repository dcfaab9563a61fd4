"""What time alone does: stalls and lapses, once, without traffic, never out of a backlog; and changed definitions."""

import asyncio
import signal
from datetime import timedelta
from typing import Any

import pytest
from touchline_schemas.partitions import partition_of

from tests.support.engine.expected import assert_sound, utc_now
from tests.support.engine.world import LIFECYCLE, PARTITIONS, World, touchpoint
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

QUICK = """
lifecycle: trial
version: 1
stages:
  - name: reach
    stall: {after: 3s}
    lapse: {after: 8s, to: gone}
    rules:
      - {when: [left], to: gone}
off_path:
  - name: gone
"""


async def types_of(world: World, customer_id: str) -> list[str]:
    """The kinds of a customer's facts so far."""
    facts = [fact for fact in await world.facts() if fact["customer_id"] == customer_id]
    return [fact.get("move") or fact["ce_type"].removeprefix("touchline.customer-") for fact in facts]


async def test_timers_fire_without_traffic_once_and_after_a_restart(world: World) -> None:
    world.write_lifecycle(QUICK.replace("8s", "15s"))
    process = await world.running()
    at = utc_now()
    await world.post([touchpoint("t1", at, customer_id="c")])

    async def stalled() -> bool:
        return (await types_of(world, "c"))[:2] == ["enter", "stalled"]

    await wait_until(stalled, "the customer stalls")
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0
    again = await world.running()

    async def lapsed() -> bool:
        return await types_of(world, "c") == ["enter", "stalled", "lapse"]

    await wait_until(lapsed, "the customer lapses")
    facts = await world.facts()
    assert_sound(facts)
    stall = next(fact for fact in facts if fact["ce_type"] == "touchline.customer-stalled")
    assert stall["due_at"] == touchpoint("x", at + timedelta(seconds=3))["occurred_at"]
    assert stall["backfill"] is False
    assert await again.metric("touchline_stalls_total") == 0


async def test_an_activity_ends_a_stall_with_a_recovery(world: World) -> None:
    world.write_lifecycle(QUICK.replace("8s", "1h"))
    await world.running()
    await world.post([touchpoint("t1", utc_now(), customer_id="c")])

    async def stalled() -> bool:
        return "stalled" in await types_of(world, "c")

    await wait_until(stalled, "the customer stalls")
    await world.post([touchpoint("t2", utc_now(), customer_id="c")])

    async def recovered() -> bool:
        return (await types_of(world, "c"))[:3] == ["enter", "stalled", "recovered"]

    await wait_until(recovered, "the customer recovers")


async def test_a_backlog_makes_no_false_stalls(world: World) -> None:
    now = utc_now()
    # Each within two weeks of the one before: nobody was ever silent for long, but the past is read only now.
    posted = [
        touchpoint(f"t{c}-{n}", now - timedelta(days=200 - 10 * n), customer_id=f"c{c}")
        for n in range(20)
        for c in range(200)
    ]
    first = await world.running()
    first.signal(signal.SIGTERM)
    await first.ended()
    await world.post(posted)
    world.environment["TOUCHLINE_BATCH_RECORDS"] = "50"
    await world.running()
    await world.folded(len(posted))
    assert [fact for fact in await world.facts() if fact["ce_type"] == "touchline.customer-stalled"] == []


async def test_machine_and_backfill_touchpoints_are_told_apart(world: World) -> None:
    now = utc_now()
    await world.running()
    await world.post(
        [
            touchpoint("m", now - timedelta(days=3), customer_id="m", machine=True),
            touchpoint("b", now - timedelta(days=3), customer_id="b", backfill=True),
        ]
    )
    await world.folded(2)

    async def entered() -> list[dict[str, Any]]:
        return await world.facts()

    (fact,) = await wait_until(entered, "the backfilled customer enters")
    assert (fact["customer_id"], fact["backfill"]) == ("b", True)
    assert (await world.get("/v1/customers/m"))["stages"] == {}


async def test_a_version_that_refolds_folds_everybody_again_and_tells_the_difference(world: World) -> None:
    now = utc_now()
    await world.running()
    await world.post([touchpoint(f"t{n}", now - timedelta(days=9 - n), customer_id="c") for n in range(4)])
    await world.folded(4)
    world.processes[-1].signal(signal.SIGTERM)
    await world.processes[-1].ended()
    text = LIFECYCLE.replace("version: 1", "version: 2\non_change: refold").replace("count: 3", "count: 9")
    world.write_lifecycle(text)
    await world.running()

    async def moved() -> Any:
        found = await world.get("/v1/customers/c")
        return found["stages"].get("trial", {}).get("version") == 2

    await wait_until(moved, "the customer stands where version 2 puts them")
    assert (await world.get("/v1/customers/c"))["stages"]["trial"]["stage"] == "reach"

    async def reported() -> dict[str, Any] | None:
        moves = [fact for fact in await world.facts() if "to_stage" in fact]
        return moves[-1] if moves and moves[-1]["reason"]["kind"] == "definition" else None

    correction = await wait_until(reported, "the correction is published")
    assert (correction["from_stage"], correction["to_stage"]) == ("try", "reach")
    assert correction["backfill"] is True
    assert_sound(await world.facts())


async def test_a_pinned_version_leaves_customers_in_the_old_one_until_their_next_move(world: World) -> None:
    now = utc_now()
    await world.running()
    views = [touchpoint(f"t{n}", now - timedelta(days=9 - n), customer_id="c") for n in range(3)]
    await world.post([*views, touchpoint("o", now - timedelta(days=1), customer_id="o")])
    await world.folded(4)
    world.processes[-1].signal(signal.SIGTERM)
    await world.processes[-1].ended()
    world.write_lifecycle(LIFECYCLE.replace("version: 1", "version: 2").replace("count: 3", "count: 2"))
    await world.running()

    async def swept() -> bool:
        rows = await world.sql("SELECT count(DISTINCT generation) AS n FROM customers")
        return bool(rows[0]["n"] == 1)

    await wait_until(swept, "everybody was looked at")
    assert (await world.get("/v1/customers/c"))["stages"]["trial"]["version"] == 1
    await world.post([touchpoint("p", utc_now(), type="purchased", customer_id="c")])
    await world.folded(5)
    found = (await world.get("/v1/customers/c"))["stages"]["trial"]
    assert (found["stage"], found["version"]) == ("buy", 2)


async def test_a_lifecycle_added_later_folds_the_whole_history(world: World) -> None:
    now = utc_now()
    await world.running()
    await world.post([touchpoint(f"t{n}", now - timedelta(days=9 - n), customer_id="c") for n in range(4)])
    await world.folded(4)
    world.processes[-1].signal(signal.SIGTERM)
    await world.processes[-1].ended()
    world.write_lifecycle(LIFECYCLE.replace("lifecycle: trial", "lifecycle: second"), "second")
    world.environment["TOUCHLINE_LIFECYCLES"] = "trial,second"
    await world.running()

    async def there() -> Any:
        found = await world.get("/v1/customers/c")
        return found["stages"].get("second")

    assert (await wait_until(there, "the customer stands in the second lifecycle"))["stage"] == "try"

    async def reported() -> list[dict[str, Any]]:
        return [fact for fact in await world.facts() if fact["lifecycle"] == "second"]

    facts = await wait_until(reported, "it is published")
    assert {fact["backfill"] for fact in facts} == {True}
    assert {fact["reason"]["kind"] for fact in facts} == {"definition"}
    assert len([fact for fact in await world.facts() if fact["lifecycle"] == "trial"]) == 2


SECOND = LIFECYCLE.replace("lifecycle: trial", "lifecycle: second")


async def published_stalls(world: World, lifecycle: str) -> dict[str, bool]:
    """Customer → whether their stall in a lifecycle was told as the past."""
    facts = await world.facts()
    stalls = [fact for fact in facts if fact["ce_type"] == "touchline.customer-stalled"]
    return {fact["customer_id"]: fact["backfill"] for fact in stalls if fact["lifecycle"] == lifecycle}


async def test_a_lifecycle_added_while_the_engine_is_behind_tells_long_due_stalls_as_the_past(world: World) -> None:
    now = utc_now()
    await world.running()
    # Each was last active long ago, and one of them is heard of again while the engine reads what it has missed.
    await world.post(
        [touchpoint(f"first-{who}", now - timedelta(days=40), customer_id=who) for who in ("silent", "written-to")]
    )
    await world.folded(2)

    async def stalled() -> bool:
        return (await published_stalls(world, "trial")).keys() == {"silent", "written-to"}

    await wait_until(stalled, "both stall in the lifecycle that runs")
    world.processes[-1].signal(signal.SIGTERM)
    await world.processes[-1].ended()
    world.write_lifecycle(SECOND, "second")
    world.environment |= {"TOUCHLINE_LIFECYCLES": "trial,second", "TOUCHLINE_BATCH_RECORDS": "1"}
    backlog = [
        touchpoint("w", now - timedelta(hours=1), type="contacted", direction="outbound", customer_id="written-to"),
        *[touchpoint(f"o{n}", now, customer_id=f"other{n}") for n in range(150)],
    ]
    await world.post(backlog)
    await world.running()

    async def reported() -> dict[str, bool]:
        found = await published_stalls(world, "second")
        return found if found.keys() == {"silent", "written-to"} else {}

    assert await wait_until(reported, "both stall in the new lifecycle") == {"silent": True, "written-to": True}
    await world.folded(2 + len(backlog))
    await world.published()
    facts = await world.facts()
    assert_sound(facts)
    moves = {fact["customer_id"]: fact for fact in facts if fact["lifecycle"] == "second" and "to_stage" in fact}
    assert {name: moves[name]["backfill"] for name in ("silent", "written-to")} == {"silent": True, "written-to": True}
    # Who entered both lifecycles only now is news in both.
    assert moves["other1"]["backfill"] is False
    assert len([fact for fact in facts if fact["customer_id"] == "silent" and fact["lifecycle"] == "trial"]) == 3


async def test_adding_a_lifecycle_makes_the_past_of_nothing_that_happens_in_the_others(world: World) -> None:
    # Patience for as long as a busy machine may take to fold three touchpoints and to stop.
    world.write_lifecycle(QUICK.replace("3s", "20s").replace("8s", "1h"))
    await world.running()
    at = utc_now()
    await world.post(
        [
            touchpoint("s", at, customer_id="silent"),
            *[touchpoint(f"b{n}", at - timedelta(seconds=2 - n), customer_id="buyer") for n in range(2)],
        ]
    )
    await world.folded(3)
    world.processes[-1].signal(signal.SIGTERM)
    await world.processes[-1].ended()
    assert await published_stalls(world, "trial") == {}, "stopped before anybody's patience was over"
    due = at + timedelta(seconds=20)
    await wait_until(lambda: utc_now() > due, "the silent one's stall is due, with nobody to tell it")
    bought = touchpoint("v", at + timedelta(seconds=2, milliseconds=500), type="left", customer_id="buyer")
    await world.post([bought])
    world.write_lifecycle(SECOND, "second")
    world.environment["TOUCHLINE_LIFECYCLES"] = "trial,second"
    await world.running()

    async def reported() -> bool:
        return "silent" in await published_stalls(world, "trial")

    await wait_until(reported, "the silent one stalls")
    assert (await published_stalls(world, "trial"))["silent"] is False
    await world.folded(4)

    async def moved() -> list[dict[str, Any]]:
        facts = await world.facts()
        mine = [fact for fact in facts if fact["customer_id"] == "buyer" and fact["lifecycle"] == "trial"]
        return [fact for fact in mine if fact.get("to_stage") == "gone"]

    (move,) = await wait_until(moved, "the one who left is told of")
    assert (move["reason"]["kind"], move["reason"]["touchpoint_id"], move["backfill"]) == ("rule", "v", False)
    assert_sound(await world.facts())


async def test_a_rebuild_folds_everybody_again_and_says_nothing_when_nothing_differs(world: World) -> None:
    await world.running()
    await world.post([touchpoint(f"t{n}", utc_now() - timedelta(days=1), customer_id=f"c{n}") for n in range(20)])
    await world.folded(20)
    await world.rebuild()
    await world.published()
    facts = await world.facts()
    assert len(facts) == 20
    assert_sound(facts)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LIFECYCLE.replace("to: buy", "to: bye"), "bye"),
        (LIFECYCLE.replace("after: 14d", "after: 14x"), "14d"),
    ],
)
async def test_a_wrong_definition_stops_the_start_and_says_what_to_write(world: World, text: str, words: str) -> None:
    world.write_lifecycle(text)
    process = world.start()
    assert await process.ended() == 2
    log = process.log.read_text()
    assert "trial.yaml:" in log
    assert words in log


async def test_one_version_with_two_texts_stops_the_start(world: World) -> None:
    process = await world.running()
    process.signal(signal.SIGTERM)
    await process.ended()
    world.write_lifecycle(LIFECYCLE.replace("count: 3", "count: 4"))
    process = world.start()
    assert await process.ended() == 2
    assert "version: 2" in process.log.read_text()


# --- timers of customers who are active under another key ------------------------------------------------------------


def alias_of_another_partition(customer_id: str) -> str:
    """An anonymous id whose key is filed under another partition than the customer's."""
    own = partition_of(customer_id, PARTITIONS)
    return next(f"a{n}" for n in range(100) if partition_of(f"anon:a{n}", PARTITIONS) != own)


def anonymous_backlog(partition: int, number: int) -> list[dict[str, Any]]:
    """Touchpoints of other customers, all on one partition."""
    names = [f"s{n}" for n in range(number * 8) if partition_of(f"s{n}", PARTITIONS) == partition][:number]
    return [touchpoint(f"t-{name}", utc_now(), customer_id=name) for name in names]


@pytest.mark.parametrize("linked", ["merged before", "linked while the engine was away"])
async def test_a_backlog_of_an_alias_makes_no_false_stalls(world: World, linked: str) -> None:
    """Kind: a customer who is active under another key, whose touchpoints wait on another partition after an outage."""
    world.write_lifecycle(QUICK.replace("3s", "20s").replace("8s", "1h"))
    alias = alias_of_another_partition("c")
    engine = await world.running()
    start = utc_now()
    first = [
        touchpoint("own", start, customer_id="c"),
        touchpoint("link", start + timedelta(milliseconds=1), customer_id="c", anonymous_id=alias),
    ]
    before = first if linked == "merged before" else first[:1]
    # Never longer than nine seconds without a touchpoint, for minutes; the patience is twenty.
    active = [
        touchpoint(f"a{n}", start + timedelta(seconds=9 * n), anonymous_id=alias, type="email_clicked")
        for n in range(1, 33)
    ]
    await world.post([*before, active[0], active[1]])

    async def merged() -> bool:
        return bool((await world.get("/v1/customers/c") or {}).get("touchpoints", 0) >= len(before) + 2)

    if linked == "merged before":
        await wait_until(merged, "the keys have become one person")
    else:
        await world.folded(3)
    engine.signal(signal.SIGKILL)
    engine.popen.wait()
    # The outage: what the alias did comes behind a backlog of its partition.
    backlog = anonymous_backlog(partition_of(f"anon:{alias}", PARTITIONS), 6000)
    await world.post([*backlog, *active[2:], *first[len(before) :]])
    # By what is folded so far, the customer would be silent for too long.
    await asyncio.sleep(max(0.0, (start + timedelta(seconds=39) - utc_now()).total_seconds()))
    await world.running(TOUCHLINE_BATCH_RECORDS="20")
    posted = len(first) + len(active) + len(backlog)

    async def all_arrived() -> bool:
        return (await world.get("/v1/customers/c") or {}).get("touchpoints") == len(first) + len(active)

    await wait_until(all_arrived, f"all of {posted} are folded", 120)
    assert "stalled" not in await types_of(world, "c")


async def test_a_linked_customer_who_is_silent_stalls_once_and_soon(world: World) -> None:
    world.write_lifecycle(QUICK)
    alias = alias_of_another_partition("c")
    await world.running()
    at = utc_now()
    await world.post([touchpoint("t1", at, customer_id="c"), touchpoint("t2", at, customer_id="c", anonymous_id=alias)])

    async def stalled() -> list[dict[str, Any]]:
        return [fact for fact in await world.facts() if fact["ce_type"] == "touchline.customer-stalled"]

    (stall,) = await wait_until(stalled, "the customer stalls")
    assert stall["customer_id"] == "c"
    assert stall["backfill"] is False
