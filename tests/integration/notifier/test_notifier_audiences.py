"""Audiences: a play for the members of one, and webhooks about who enters and leaves, each once."""

from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest
from touchline_devstack.receivers import WebhookReceiver
from touchline_schemas.times import to_wire
from touchline_schemas.topics import AUDIENCE_CHANGES

from tests.support.notifier.world import SECRET, World
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

PLAY = """
play: win-back
audience: big-buyers
when: {fact: customer-stalled, lifecycle: service-cycle}
action: {channel: webhook, endpoint: crm, body: "{{ customer_id }}"}
"""


class Audiences:
    """Publishes changes of membership as the engine does."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.numbers: dict[tuple[str, str], int] = {}

    async def change(self, customer: str, audience: str = "big-buyers", reason: str = "filter") -> str:
        """The customer enters, or leaves where they are a member; the event's id."""
        number = self.numbers[customer, audience] = self.numbers.get((customer, audience), 0) + 1
        now = to_wire(datetime.now(UTC))
        data = {
            "audience": audience, "audience_incarnation": 1, "audience_version": 1, "customer_id": customer,
            "incarnation": 0, "era": 0, "change_no": number, "occurred_at": now, "decided_at": now,
            "reason": {"kind": reason},
        }  # fmt: skip
        kind = "touchline.audience-entered" if number % 2 else "touchline.audience-left"
        ident = str(uuid5(NAMESPACE_URL, f"{audience}/{customer}/{number}"))
        await self.world._send(AUDIENCE_CHANGES.full_name(self.world.prefix), customer, kind, ident, data)
        return ident

    async def members(self) -> set[tuple[str, str]]:
        pool = await self.world.database()
        rows = await pool.fetch("SELECT customer_id, audience FROM audience_members")
        return {(row["customer_id"], row["audience"]) for row in rows}

    async def until(self, *members: tuple[str, str]) -> None:
        async def reached() -> bool:
            return await self.members() == set(members)

        await wait_until(reached, seen=lambda: members)


def got(receiver: WebhookReceiver) -> list[tuple[str, str, str]]:
    """(type, customer, audience) of every webhook; one that is sent again after a crash has the same id."""
    found: list[Any] = [one.json for one in receiver.arrived if one.verdict == "valid" and not one.duplicate]
    return sorted((one["type"], one["data"]["customer_id"], one["data"].get("audience", "")) for one in found)


async def test_a_play_with_an_audience_acts_on_its_members_alone(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        world.crm(receiver)
        world.play(PLAY, "win-back")
        audiences = Audiences(world)
        await audiences.change("c-1")
        await audiences.change("c-2")
        await audiences.change("c-2")
        await audiences.change("c-3", "others")
        await world.start().ready()
        await audiences.until(("c-1", "big-buyers"), ("c-3", "others"))
        for customer in ("c-1", "c-2", "c-3", "c-4"):
            await world.stalled(customer)
        held = await world.await_actions(3, "held")
        assert {one["customer_id"] for one in held} == {"c-2", "c-3", "c-4"}
        assert all(one["reason"].startswith("not_in_audience: is not a member of big-buyers, waits") for one in held)
        (sent,) = await world.await_actions(1, "sent")
        assert sent["customer_id"] == "c-1"

        # Who becomes a member a moment after the fact, as the engine evaluates it, is one; the others never were.
        await audiences.change("c-4")
        await audiences.until(("c-1", "big-buyers"), ("c-3", "others"), ("c-4", "big-buyers"))
        pool = await world.database()
        await pool.execute(
            "UPDATE actions SET decide_at = now(), "
            """fact = jsonb_set(fact, '{data,decided_at}', '"2026-01-01T00:00:00Z"') WHERE decide_at IS NOT NULL"""
        )
        assert {one["customer_id"] for one in await world.await_actions(2, "sent")} == {"c-1", "c-4"}

        async def ended() -> bool:
            return not await pool.fetchval("SELECT count(*) FROM actions WHERE decide_at IS NOT NULL")

        await wait_until(ended)
        rows = await pool.fetch("SELECT customer_id, reason FROM actions WHERE outcome = 'held' ORDER BY customer_id")
        assert [tuple(row.values()) for row in rows] == [
            ("c-2", "is not a member of big-buyers"), ("c-3", "is not a member of big-buyers"),
        ]  # fmt: skip


async def test_every_change_reaches_subscribers_once_though_processes_die(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        world.crm(receiver, ", subscribe: [audience-entered, audience-left], audiences: [big-buyers, small]")
        audiences = Audiences(world)
        first, second = await world.start().ready(), await world.start().ready()
        expected = []
        for number in range(40):
            for audience in ("big-buyers", "small", "not-asked-for"):
                await audiences.change(f"c-{number}", audience)
                if audience != "not-asked-for":
                    expected.append(("touchline.audience-entered", f"c-{number}", audience))
            if number == 15:
                first.kill()
            if number == 30:
                second.kill()
                await world.start().ready()
            if number % 2:
                await audiences.change(f"c-{number}", "small")
                expected.append(("touchline.audience-left", f"c-{number}", "small"))
        await wait_until(lambda: {*got(receiver)} >= {*expected}, seen=lambda: len(receiver.arrived), seconds=120)
        pool = await world.database()
        assert await pool.fetchval("SELECT count(*) FROM deliveries") == len(expected)
        assert {*got(receiver)} == {*expected}
        everybody = {(f"c-{number}", audience) for number in range(40) for audience in ("big-buyers", "not-asked-for")}
        assert await audiences.members() == everybody | {(f"c-{number}", "small") for number in range(0, 40, 2)}


async def test_an_erased_customer_is_no_member_and_subscribers_learn_it(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        world.crm(receiver, ", subscribe: [audience-left]")
        audiences = Audiences(world)
        await audiences.change("c-1")
        process = await world.start().ready()
        await audiences.until(("c-1", "big-buyers"))
        await world.news("customer-erased", "c-1")
        await audiences.until()
        await audiences.change("c-1", reason="erased")
        await wait_until(lambda: got(receiver) == [("touchline.audience-left", "c-1", "big-buyers")])
        assert process.popen.poll() is None
        # What cannot be read stops nobody.
        topic = AUDIENCE_CHANGES.full_name(world.prefix)
        await world._send(topic, "c-1", "touchline.audience-entered", "x", {"audience": 7})
        await audiences.change("c-2")
        await audiences.until(("c-2", "big-buyers"))
        letters = await wait_until(lambda: world.published(f"{world.prefix}.dead-letters.v1"))
        assert [one["audience"] for one in letters] == [7]
