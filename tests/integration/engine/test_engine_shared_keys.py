"""Kinds: one key that many customers name; an alias of somebody who is a known customer; a placeholder for an id."""

import random
import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import orjson
import pytest

from tests.support.engine.expected import assert_sound, utc_now
from tests.support.engine.identity import agree
from tests.support.engine.world import World, touchpoint
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

LIMIT = 3
HUBS: dict[str, dict[str, str]] = {
    "a placeholder address": {"email": "none@example.org"},
    "a shop's tablet": {"anonymous_id": "tablet"},
    "a record that everybody has": {"external_id": "0017"},
}
ORDERS: dict[str, Callable[[list[Any]], None]] = {
    "oldest first": lambda posted: None,
    "newest first": lambda posted: posted.reverse(),
    "in no order": random.Random(3).shuffle,
}


def naming(hub: dict[str, str], number: int) -> list[dict[str, Any]]:
    """Customers who name a key, each with a touchpoint of their own, and two of the key's own."""
    now = utc_now()
    posted = []
    for position in range(number):
        at = now - timedelta(days=60 - position)
        posted += [
            touchpoint(f"own-{position}", at - timedelta(days=1), customer_id=f"c{position}"),
            touchpoint(f"names-{position}", at, customer_id=f"c{position}", type="signed_up", **hub),
        ]
    posted += [touchpoint(f"hub-{position}", now - timedelta(days=80 - 30 * position), **hub) for position in range(2)]
    return posted


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("hub", HUBS)
async def test_a_key_that_more_than_the_limit_of_customers_name_joins_nobody_in_any_order(
    world: World, hub: str, order: str
) -> None:
    posted = naming(HUBS[hub], 9)
    ORDERS[order](posted)
    world.environment["TOUCHLINE_SHARED_KEY_LIMIT"] = str(LIMIT)
    engine = await world.running()
    # One by one past the limit: merges before it are undone.
    for position in range(14):
        await world.post([posted[position]])
        await world.folded(position + 1)
    await agree(world, posted[:14], LIMIT)
    await world.post(posted[14:])
    await agree(world, posted, LIMIT)
    assert_sound(await world.facts())

    async def counted() -> bool:
        return await engine.metric("touchline_shared_keys") == 1

    await wait_until(counted, "the metric counts the key")


CRMS: dict[str, Callable[[int], dict[str, str]]] = {
    "external ids": lambda number: {"external_id": f"r{number}"},
    "anonymous ids": lambda number: {"anonymous_id": f"a{number}"},
    "known customers, external and anonymous ids": lambda number: (
        {"customer_id": f"c{number}"}, {"external_id": f"r{number}"}, {"anonymous_id": f"a{number}"}
    )[number % 3],
}  # fmt: skip


@pytest.mark.parametrize("crm", CRMS)
async def test_an_import_with_one_placeholder_address_is_shared_past_fifty_whatever_ids_name_its_people(
    world: World, crm: str
) -> None:
    at = utc_now() - timedelta(days=9)
    posted = [
        touchpoint(f"row-{number}", at + timedelta(minutes=number), email="none@example.org", **CRMS[crm](number))
        for number in range(51)
    ]
    await world.running()
    await world.post(posted[:50])
    await agree(world, posted[:50])
    listed = (await world.get("/v1/identity-conflicts?limit=1000"))["items"]
    assert not [item for item in listed if item["kind"] == "shared-key"]
    await world.post(posted[50:])
    await agree(world, posted)
    listed = (await world.get("/v1/identity-conflicts?limit=1000"))["items"]
    assert [item["key"] for item in listed if item["kind"] == "shared-key"] == ["email:none@example.org"]
    assert_sound(await world.facts())


async def test_a_key_is_shared_no_more_when_a_customer_who_named_it_never_did(world: World) -> None:
    posted = naming(HUBS["a placeholder address"], LIMIT + 1)
    world.environment["TOUCHLINE_SHARED_KEY_LIMIT"] = str(LIMIT)
    await world.running()
    await world.post(posted)
    await agree(world, posted, LIMIT)
    # A smaller content under the same id names nobody: it takes the place of the one that did.
    index = next(i for i, one in enumerate(posted) if one["id"] == "names-1")
    instead = touchpoint("names-1", utc_now() - timedelta(days=70), customer_id="c1", type="signed_up")
    await world.post([instead])
    posted[index] = instead
    await agree(world, posted, LIMIT)
    assert_sound(await world.facts())


async def test_another_limit_is_applied_to_the_keys_that_are_there(world: World) -> None:
    posted = naming(HUBS["a placeholder address"], 5) + naming(HUBS["a shop's tablet"], 4)
    for position, one in enumerate(posted):
        one["id"] = f"{one['id']}-{position}"
    for limit in (50, LIMIT, 4, 50):
        engine = await world.running(TOUCHLINE_SHARED_KEY_LIMIT=str(limit))
        if limit == 50 and len(world.processes) == 1:
            await world.post(posted)
        await agree(world, posted, limit)
        engine.signal(signal.SIGTERM)
        await engine.ended()


def alias(touchpoint_id: str, days: int, customer: str, previous: str) -> dict[str, Any]:
    """What the Segment door makes of `alias(customer, previous)`."""
    return touchpoint(
        touchpoint_id, utc_now() - timedelta(days=days), type="aliased", customer_id=customer, anonymous_id=previous,
        properties={"previous_id": previous},
    )  # fmt: skip


@pytest.mark.parametrize("known", ["before", "after", "never"])
async def test_an_alias_of_a_known_customer_is_a_conflict_and_makes_no_anonymous_alias(
    world: World, known: str
) -> None:
    before = [touchpoint("old", utc_now() - timedelta(days=20), customer_id="old-id")]
    visit = [touchpoint("visit", utc_now() - timedelta(days=19), anonymous_id="old-id")]
    await world.running()
    posted: list[dict[str, Any]] = []
    for part in ([*before] if known == "before" else [], [*visit, alias("is", 10, "new-id", "old-id")]):
        posted += part
        await world.post(part)
        await agree(world, posted)
    if known == "after":
        posted += before
        await world.post(before)
        await agree(world, posted)
    found = await world.get("/v1/customers/new-id")
    assert found["aliases"] == ([] if known != "never" else ["anon:old-id"])
    listed = (await world.get("/v1/identity-conflicts"))["items"]
    assert [one["customers"] for one in listed] == ([] if known == "never" else [["new-id", "old-id"]])
    if known == "never":
        assert await world.get("/v1/customers/old-id") is None
        assert await world.get("/v1/customers/old-id/history") is None
    assert_sound(await world.facts())


@pytest.mark.parametrize("value", ["undefined", "[object Object]", "0", "00000000-0000-0000-0000-000000000000"])
async def test_a_placeholder_joins_nobody_and_a_record_that_names_nothing_else_is_a_dead_letter(
    world: World, value: str
) -> None:
    now = utc_now()
    posted = [
        touchpoint(f"v{position}", now - timedelta(days=9 - position), customer_id=value, anonymous_id=f"a{position}")
        for position in range(3)
    ]
    posted.append(touchpoint("is", now - timedelta(days=2), customer_id="c", anonymous_id="a0", external_id=value))
    await world.running()
    await world.post(posted)
    nobody = touchpoint("nobody", now, customer_id=value)
    await world.producer.send_and_wait(world.topic("touchpoints"), orjson.dumps(nobody), key=value.encode())
    await agree(world, posted)
    assert (await world.get("/v1/customers/c"))["aliases"] == ["anon:a0"]

    async def dead() -> list[Any]:
        return await world.records("dead-letters")

    (letter,) = await wait_until(dead, "it is a dead letter")
    assert orjson.loads(letter.value) == nobody
    assert b"placeholder" in dict(letter.headers)["error"]
