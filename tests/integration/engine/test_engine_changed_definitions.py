"""Kinds: a change of definitions that leaves somebody where an earlier one put them, and one that folds everybody again
though nothing can differ."""

import random
import signal
from datetime import timedelta
from typing import Any

import pytest
from touchline_stage_engine.application.identities.messages import link_requested
from touchline_stage_engine.core.identity.labels import own_label, weigh

from tests.support.engine.expected import assert_sound, now_micros, random_touchpoints, utc_now
from tests.support.engine.standing import stand
from tests.support.engine.world import LIFECYCLE, World, touchpoint
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

SECOND = (
    LIFECYCLE.replace("version: 1", "version: 2").replace("count: 3", "count: 2").replace("after: 40d", "after: 50d")
)
VERSIONS = {
    "v1": LIFECYCLE,
    "v2 refolds": SECOND.replace("cyclic: true", "cyclic: true\non_change: refold"),
    "v2 is pinned": SECOND.replace("cyclic: true", "cyclic: true\non_change: pin"),
    "v2 renames a stage": SECOND.replace("cyclic: true", "cyclic: true\non_change: refold").replace(
        "name: try", "name: attempt"
    ).replace("to: try}", "to: attempt}"),
}  # fmt: skip
OTHER = LIFECYCLE.replace("lifecycle: trial", "lifecycle: other").replace("count: 3", "count: 1")
CUSTOMERS = [{"customer_id": f"c{n}"} for n in range(8)]


def write(world: World, *names: str) -> None:
    """Make these versions the ones in the folder."""
    for file in world.lifecycles.iterdir():
        file.unlink()
    for place, name in enumerate(names):
        world.write_lifecycle(VERSIONS[name], f"trial-{place}")


async def ended(world: World) -> None:
    world.processes[-1].signal(signal.SIGTERM)
    await world.processes[-1].ended()


@pytest.mark.parametrize("version", ["v2 refolds", "v2 is pinned", "v2 renames a stage"])
async def test_a_version_that_is_withdrawn_leaves_everybody_in_a_stage_of_the_one_before(
    world: World, version: str
) -> None:
    posted = random_touchpoints(random.Random(11), CUSTOMERS, 8, utc_now())
    write(world, "v1")
    await world.running()
    await world.post(posted[:30])
    await stand(world, posted[:30], VERSIONS["v1"])
    await ended(world)

    write(world, "v1", version)
    await world.running()
    await world.post(posted[30:50])
    if version == "v2 is pinned":
        await world.folded(50)
    else:
        await stand(world, posted[:50], VERSIONS[version])
    await ended(world)

    write(world, "v1")
    back = await world.running()
    await world.post(posted[50:])
    await stand(world, posted, VERSIONS["v1"])
    assert "lifecycle_version_withdrawn" in back.log.read_text()

    async def tombstones() -> set[str]:
        return {record.key.decode() for record in await world.records("lifecycles") if record.value is None}

    assert await wait_until(tombstones, "the withdrawn version has a tombstone") == {"trial/2"}
    await ended(world)

    write(world, "v1", "v2 refolds" if version == "v2 is pinned" else version)
    if version != "v2 is pinned":
        await world.running()
        await stand(world, posted, VERSIONS[version])
    assert_sound(await world.facts())


async def test_a_lifecycle_that_was_off_while_something_came_is_folded_when_it_is_on_again(world: World) -> None:
    posted = random_touchpoints(random.Random(12), CUSTOMERS, 8, utc_now())
    world.write_lifecycle(OTHER, "other")
    await world.running(TOUCHLINE_LIFECYCLES="trial,other")
    await world.post(posted[:30])
    await stand(world, posted[:30], OTHER, "other")
    await ended(world)
    await world.running()
    await world.post(posted[30:])
    await world.folded(len(posted))
    await ended(world)
    await world.running(TOUCHLINE_LIFECYCLES="trial,other")
    await stand(world, posted, OTHER, "other")
    await stand(world, posted, LIFECYCLE)
    assert_sound(await world.facts())


async def test_a_link_message_to_somebody_who_is_due_for_a_refold_leaves_the_refold_to_be_done(world: World) -> None:
    posted = random_touchpoints(random.Random(13), CUSTOMERS, 5, utc_now())
    await world.running()
    await world.post(posted)
    await stand(world, posted, LIFECYCLE)
    await ended(world)
    # What another owner had sent when the engine was stopped: read before anybody is folded again.
    for place, customer in enumerate(CUSTOMERS):
        key, device = customer["customer_id"], f"anon:d{place}"
        weight = weigh(now_micros(), f"m{place}", "shop", key, device)
        message = link_requested(key, device, weight, own_label(device), posted[0]["received_at"])
        await world.producer.send_and_wait(
            world.topic("identity"), message.value, key=message.key, headers=message.headers
        )
    world.write_lifecycle(OTHER, "other")
    await world.running(TOUCHLINE_LIFECYCLES="trial,other")
    await stand(world, posted, OTHER, "other")
    done = world.command("rebuild", TOUCHLINE_LIFECYCLES="trial,other")
    assert done.returncode == 0, done.stderr
    await stand(world, posted, OTHER, "other")
    await stand(world, posted, LIFECYCLE)


@pytest.mark.parametrize("change", ["a lifecycle is added", "a lifecycle is switched off", "a pinned version is added"])
async def test_a_change_after_which_nothing_can_differ_rewrites_no_history(world: World, change: str) -> None:
    posted = random_touchpoints(random.Random(14), CUSTOMERS, 8, utc_now() - timedelta(days=1))
    world.write_lifecycle(OTHER, "other")
    both = {"TOUCHLINE_LIFECYCLES": "trial,other"}
    await world.running(**({} if change == "a lifecycle is added" else both))
    await world.post(posted)
    await stand(world, posted, LIFECYCLE)
    await ended(world)

    async def history() -> set[tuple[Any, ...]]:
        rows = await world.sql("SELECT customer_id, no, xmin::text AS x FROM history WHERE lifecycle = 'trial'")
        return {tuple(row) for row in rows}

    before, number = await history(), len(await world.facts())
    if change == "a pinned version is added":
        world.write_lifecycle(VERSIONS["v2 is pinned"], "trial-2")
    after = await world.running(**({} if change == "a lifecycle is switched off" else both))

    async def swept() -> bool:
        return await after.metric("touchline_refolds_pending") == 0

    await wait_until(swept, "the sweep is done")
    if change == "a lifecycle is added":
        await stand(world, posted, OTHER, "other")
    assert await history() == before
    told = [fact for fact in await world.facts() if fact.get("lifecycle") == "trial"]
    assert len([one for one in told if one["ce_type"] == "touchline.stage-changed"]) == len(
        [row for row in told if row["ce_type"] == "touchline.stage-changed" and row["lifecycle_version"] == 1]
    )
    if change != "a lifecycle is added":
        assert len(await world.facts()) == number
    # What comes now is folded under what is in force now.
    new = touchpoint("new", utc_now(), customer_id="c-new")
    await world.post([new])
    newest = 2 if change == "a pinned version is added" else 1

    async def entered() -> bool:
        found = await world.get("/v1/customers/c-new")
        return bool(found) and found["stages"]["trial"]["version"] == newest

    await wait_until(entered, "a new customer enters under the newest version")


async def test_a_rebuild_where_nothing_can_differ_rewrites_no_history_and_no_stage(world: World) -> None:
    """Kind: rows that are written anew with the content that they had."""
    posted = random_touchpoints(random.Random(15), CUSTOMERS, 8, utc_now() - timedelta(days=1))
    running = await world.running()
    await world.post(posted)
    await stand(world, posted, LIFECYCLE)

    async def nothing_is_due() -> bool:
        waiting = await world.sql("SELECT 1 FROM customers WHERE wake_at <= $1", now_micros())
        return not waiting and await running.metric("touchline_outbox_waiting_records") == 0

    await wait_until(nothing_is_due, "timers have fired")

    async def rows() -> set[tuple[Any, ...]]:
        history = await world.sql("SELECT customer_id, lifecycle, no, xmin::text AS x, ctid::text AS c FROM history")
        stages = await world.sql("SELECT customer_id, lifecycle, 0 AS no, xmin::text AS x, ctid::text AS c FROM stages")
        return {tuple(row) for row in (*history, *stages)}

    before, number = await rows(), len(await world.facts())
    await world.rebuild()
    assert await rows() == before
    assert len(await world.facts()) == number
