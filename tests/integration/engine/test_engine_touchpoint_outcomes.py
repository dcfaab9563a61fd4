"""The sender of a touchpoint can look up its outcome."""

import signal
from datetime import timedelta
from typing import Any

import pytest

from tests.support.engine.expected import utc_now
from tests.support.engine.world import World, touchpoint
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack


async def became(world: World, touchpoint_id: str, source: str = "shop") -> dict[str, Any] | None:
    found = await world.get(f"/v1/touchpoints/{source}/{touchpoint_id}")
    return None if found is None else dict(found)


async def test_it_says_what_was_folded_repeated_contradicted_merged_refused_or_erased(world: World) -> None:
    now = utc_now()
    plain = touchpoint("plain", now - timedelta(days=1), customer_id="c")
    other = touchpoint("plain", now - timedelta(hours=1), customer_id="c")
    alias = touchpoint("alias", now - timedelta(days=2), anonymous_id="a")
    link = touchpoint("link", now - timedelta(days=1), customer_id="c", anonymous_id="a")
    wrong = touchpoint("wrong", now, customer_id="c") | {"type": "no type at all!"}
    doomed = touchpoint("doomed", now - timedelta(days=3), customer_id="gone")
    await world.running()
    await world.post([plain, plain, other, alias, link, wrong, doomed])
    await world.folded(7)

    published = await became(world, "plain")
    assert published is not None
    assert (published["status"], published["customer_id"], published["duplicates"], published["conflicts"]) == (
        "folded",
        "c",
        2,
        1,
    )

    async def merged() -> bool:
        found = await became(world, "alias")
        return found is not None and (found["status"], found["customer_id"]) == ("merged", "c")

    await wait_until(merged, "the alias's touchpoint is the customer's")
    published = await became(world, "wrong")
    assert published is not None
    assert (published["status"], published["reason"], published["customer_id"]) == (
        "refused",
        "invalid_touchpoint",
        None,
    )
    assert "type" in published["error"]
    assert published["origin"].startswith(world.topic("touchpoints") + "/")
    assert await became(world, "never") is None

    assert world.command("erase", "gone").returncode == 0

    async def forgotten() -> bool:
        return await became(world, "doomed") is None

    await wait_until(forgotten, "nothing is known of the erased customer's touchpoint")
    await world.post([doomed])
    await world.folded(8)
    published = await became(world, "doomed")
    assert published is not None
    assert (published["status"], published["reason"]) == ("refused", "erased")


async def test_what_waits_on_its_topic_is_accepted(world: World) -> None:
    engine = await world.running()
    await world.post([touchpoint("first", utc_now(), customer_id="c")])
    await world.folded(1)
    engine.signal(signal.SIGTERM)
    await engine.ended()
    await world.post([touchpoint("waits", utc_now(), customer_id=f"c{n}", source=f"s{n}") for n in range(50)])
    await world.producer.send_and_wait(world.topic("touchpoints"), b"{broken", key=b"c")
    api = world.start(verb="serve")
    await api.ready()
    assert (await became(world, "first") or {})["status"] == "folded"
    published = await became(world, "waits", "s49")
    assert published == {"source": "s49", "id": "waits", "status": "accepted"} | {
        name: value for name, value in (published or {}).items() if not value
    }
    assert await became(world, "waits", "s50") is None
