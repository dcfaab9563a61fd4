"""Audiences on the real stack: the list of customers, the members and a subscriber of the topic say the same."""

import random
import signal
from datetime import timedelta
from functools import partial

import pytest
from touchline_schemas.definitions.durations import DAY

from tests.support.engine.audiences import (
    ENTERED,
    LEFT,
    AudienceApi,
    Subscriber,
    at_rest,
    client_of,
    micros_of,
    random_filter,
    random_lives,
)
from tests.support.engine.expected import utc_now
from tests.support.engine.world import World, touchpoint
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

QUICKLY = {"TOUCHLINE_AUDIENCE_SECONDS": "0.1"}


async def settle(world: World, api: AudienceApi, folded: int) -> None:
    """Wait until so many touchpoints are folded, and list, members and subscriber say the same."""
    differences: list[str] = []
    await world.folded(folded)

    async def rest() -> bool:
        differences[:] = await at_rest(world, api)
        return not differences

    await wait_until(rest, "the audiences are at rest", 120, interval=0.3, seen=lambda: differences)


async def test_a_subscriber_holds_exactly_the_members_across_kills_and_owners(world: World) -> None:
    randomly = random.Random(1)
    first = await world.running(**QUICKLY)
    async with client_of(first) as client:
        api = AudienceApi(client)
        for number in range(6):
            await api.put(f"a{number}", random_filter(randomly))
        await world.post(lives := random_lives(randomly, "c", 40))
        await settle(world, api, len(lives))
        # A second worker takes over half of the partitions while people come and go.
        second = await world.running(**QUICKLY, TOUCHLINE_WORKER_NAME="second")
        lives += (more := random_lives(randomly, "d", 40))
        await world.post(more)
        for number in range(3):
            await api.put(f"a{number}", random_filter(randomly))
        await api.put("another", random_filter(randomly))
    first.signal(signal.SIGKILL)
    await first.ended()
    async with client_of(second) as client:
        api = AudienceApi(client)
        lives += (more := random_lives(randomly, "c", 40))
        await world.post(more)
        assert (await client.delete("/v1/audiences/a0")).is_success
        assert (await client.delete("/v1/audiences/a4")).is_success
        await api.put("a0", random_filter(randomly))
        for number in (3, 6, 7):
            assert (await client.delete(f"/v1/customers/d{number}")).status_code == 202
        second.signal(signal.SIGKILL)
        await second.ended()
    third = await world.running(**QUICKLY)
    async with client_of(third) as client:
        await settle(world, AudienceApi(client), len(lives))
        assert "a4" not in await AudienceApi(client).all()


async def test_the_clock_lets_customers_enter_and_leave(world: World) -> None:
    engine = await world.running(**QUICKLY)
    async with client_of(engine) as client:
        api = AudienceApi(client)
        await api.put("long-there", {"lifecycle": "trial", "in_stage_for": "P7D"})
        await api.put("reached", {"lifecycle": "trial", "stage": "reach", "in_stage_for": "P7D"})
        await api.put("newcomers", {"entered_within": "7d"})
        await api.put("quiet", {"not_seen_for": "P7D"})
        await api.put("active", {"seen_within": "7d"})
        await api.put("endangered", {"at_risk": True})
        soon = utc_now() - timedelta(days=7) + timedelta(seconds=12)
        backward = utc_now() - timedelta(days=90) + timedelta(seconds=12)
        await world.post(
            [
                *(touchpoint(f"t{number}", soon, customer_id=f"c{number}") for number in range(8)),
                # Slipped back almost ninety days ago, and active since: no longer at risk in a moment.
                touchpoint("r0", backward - timedelta(days=1), customer_id="r", type="complaint_made"),
                touchpoint("r1", backward, customer_id="r", type="ticket_resolved"),
                touchpoint("r2", utc_now() - timedelta(days=2), customer_id="r"),
            ]
        )
        everybody = {f"c{number}" for number in range(8)}

        async def turned() -> bool:
            return (
                everybody <= await api.members("long-there") & await api.members("reached")
                and everybody <= await api.members("quiet")
                and not everybody & await api.members("newcomers")
                and not everybody & await api.members("active")
            )

        await wait_until(turned, "the spans have ended")
        await settle(world, api, 11)
        for change in (await Subscriber.of(world)).changes:
            if change["customer_id"] in everybody:
                ended = micros_of(change["occurred_at"]) >= int(soon.timestamp() * 1_000_000) + 7 * DAY
                late = change["audience"] in ("long-there", "reached", "quiet")
                assert ended == (late == (change["ce_type"] == ENTERED)), change


async def test_merges_erasures_changes_and_deletions_say_why(world: World) -> None:
    engine = await world.running(**QUICKLY)
    async with client_of(engine) as client:
        api = AudienceApi(client)
        await api.put("everybody", {"lifecycle": "trial"})
        await wait_until(lambda: _is_evaluated(api, "everybody"), "the audience is evaluated")
        at = utc_now() - timedelta(days=2)
        await world.post(
            [
                touchpoint("1", at, anonymous_id="phone"),
                touchpoint("2", at, customer_id="ann"),
                touchpoint("3", at, customer_id="bob", type="purchased", properties={"value": 80}),
            ]
        )
        await wait_until(lambda: _is(api, "everybody", {"anon:phone", "ann", "bob"}), "all have entered")
        await world.post([touchpoint("4", at, customer_id="ann", anonymous_id="phone")])
        await wait_until(lambda: _is(api, "everybody", {"ann", "bob"}), "the alias has left")
        assert (await client.delete("/v1/customers/bob")).status_code == 202
        await wait_until(lambda: _is(api, "everybody", {"ann"}), "the erased customer has left")
        await world.post([touchpoint("5", utc_now() + timedelta(minutes=1), customer_id="bob")])
        await wait_until(lambda: _is(api, "everybody", {"ann", "bob"}), "their next life has entered")
        await api.put("everybody", {"lifecycle": "trial", "min_value": 1})
        await wait_until(lambda: _is(api, "everybody", set()), "nobody matches the changed filter")
        await api.put("everybody", {"lifecycle": "trial"})
        await settle(world, api, 5)
        assert (await client.delete("/v1/audiences/everybody")).json()["members"] == 2
        await wait_until(lambda: _left(world), "all members have left")
        said = [
            (one["customer_id"], one["ce_type"] == ENTERED, one["reason"]["kind"], one["incarnation"], one["change_no"])
            for one in (await Subscriber.of(world)).changes
        ]
        assert [one for one in said if one[0] == "anon:phone"] == [
            ("anon:phone", True, "filter", 0, 1), ("anon:phone", False, "merge", 0, 2),
        ]  # fmt: skip
        assert [one for one in said if one[0] == "bob"] == [
            ("bob", True, "filter", 0, 1), ("bob", False, "erased", 0, 2), ("bob", True, "filter", 1, 1),
            ("bob", False, "definition", 1, 2), ("bob", True, "definition", 1, 3), ("bob", False, "deleted", 1, 4),
        ]  # fmt: skip
        await wait_until(lambda: _no_row_is_left(world), "no row is left of the audience")


async def _is(api: AudienceApi, name: str, members: set[str]) -> bool:
    return await api.members(name) == members


async def _is_evaluated(api: AudienceApi, name: str) -> bool:
    audience = (await api.all())[name]
    return bool(audience["evaluated"] == audience["partitions"])


async def _no_row_is_left(world: World) -> bool:
    tables = ("audience_members", "audience_progress")
    return not any([await world.sql(f"SELECT FROM {table}") for table in tables])


async def _left(world: World) -> bool:
    subscriber = await Subscriber.of(world)
    return bool(subscriber.of_kind(LEFT, "deleted")) and not any(subscriber.members.values())


async def test_a_process_killed_between_commit_and_publication_loses_and_repeats_nothing(world: World) -> None:
    randomly = random.Random(3)
    engine = await world.running(**QUICKLY)
    async with client_of(engine) as client:
        await AudienceApi(client).put("everybody", {"lifecycle": "trial"})
    lives = []
    for life in range(3):
        lives += (more := random_lives(randomly, f"k{life}-", 30, most=2))
        await world.post(more)
        # Somewhere in the middle: the rows of some members are committed, and their events are perhaps not sent.
        recorded = partial(world.sql, "SELECT FROM audience_members WHERE customer_id LIKE $1 LIMIT 1", f"k{life}-%")
        await wait_until(recorded, "the first members are recorded", interval=0.001)
        engine.signal(signal.SIGKILL)
        await engine.ended()
        engine = await world.running(**QUICKLY)
    async with client_of(engine) as client:
        await settle(world, AudienceApi(client), len(lives))
        assert await AudienceApi(client).members("everybody")
