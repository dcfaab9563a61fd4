"""The notifier as a process of its own: facts in, actions on the topic and at the endpoint."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from touchline_devstack.receivers import WebhookReceiver
from touchline_schemas.topics import STAGE_CHANGES, TOUCHPOINTS

from tests.support.notifier.world import SECRET, World
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

WIN_BACK = """
play: win-back
when: {fact: customer-stalled, lifecycle: service-cycle, stage: [retention], level: 1}
action: {channel: webhook, endpoint: crm, subject: "Come back", body: "We miss you, {{ customer_id }}"}
limits: {max_age: 24h}
"""


async def test_a_stall_becomes_one_signed_webhook_and_two_events(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        world.crm(receiver)
        world.play(WIN_BACK)
        await world.start().ready()
        fact = await world.stalled("c-1")
        decided, sent = await world.await_actions(2)

        assert [decided["outcome"], sent["outcome"]] == ["decided", "sent"]
        assert [decided["sequence"], sent["sequence"]] == [1, 2]
        assert decided["_headers"]["ce_type"] == "touchline.action-decided"
        assert sent["_headers"]["ce_type"] == "touchline.action-delivered"
        assert decided["fact_id"] == fact
        assert decided["stage"] == "retention"
        (arrived,) = receiver.arrived
        assert arrived.json["type"] == "touchline.action"
        assert arrived.json["data"]["body"] == "We miss you, c-1"
        assert arrived.json["data"]["action_id"] == decided["action_id"]
        assert receiver.counts() == {"valid": 1, "invalid": 0, "duplicates": 0}


def capped(name: str, count: int = 1, more: str = "") -> str:
    """A play on every stall, capped by customer."""
    return f"""
play: {name}
when: {{fact: customer-stalled, lifecycle: service-cycle}}
action: {{channel: webhook, endpoint: crm, body: "{name}"}}
limits: {{per_customer: {{count: {count}, within: 7d}}}}
{more}
"""


async def test_limits_hold_back_with_a_reason_and_priority_goes_first(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        world.crm(receiver)
        world.play(capped("low"), "low")
        world.play(capped("high", more="priority: 5"), "high")
        await world.start().ready()
        await world.stalled("c-1")
        await world.stalled("c-2", due_at=datetime.now(UTC) - timedelta(days=2))
        await world.stalled("c-3", backfill=True)
        await world.await_actions(1, "sent")
        held = {(one["customer_id"], one["play"]): one["reason"] for one in await world.await_actions(5, "held")}

        assert {key: reason.split(":")[0] for key, reason in held.items()} == {
            ("c-1", "low"): "capped_customer",
            ("c-2", "low"): "too_old",
            ("c-2", "high"): "too_old",
            ("c-3", "low"): "backfill",
            ("c-3", "high"): "backfill",
        }
        # Free again only in seven days, and too old by then: there is nothing to wait for.
        assert "too old by then" in held["c-1", "low"]
        assert [one.json["data"]["play"] for one in receiver.arrived] == ["high"]


WAITING = """
play: later
when: {fact: customer-stalled, lifecycle: service-cycle}
action: {channel: webhook, endpoint: crm, body: "later"}
delay: 2h
"""


async def test_a_waiting_action_is_cancelled_when_the_customer_recovers_moves_on_or_is_erased(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        world.crm(receiver)
        world.play(WAITING)
        await world.start().ready()
        for customer in ("recovers", "moves", "merges", "erased", "stays"):
            await world.moved(customer, "retention", "enter", before=None)
            await world.stalled(customer)
        await world.await_actions(5, "held")
        await world.recovered("recovers")
        await world.moved("moves", "reach", "regress", before="retention")
        await world.news("customer-merged", "merges", into="somebody", fact_no=1)
        await world.news("customer-erased", "erased")
        cancelled = {one["customer_id"]: one["reason"] for one in await world.await_actions(4, "cancelled")}

        assert {key: reason.split(":")[0] for key, reason in cancelled.items()} == {
            "recovers": "recovered",
            "moves": "moved_on",
            "merges": "merged",
            "erased": "erased",
        }
        pool = await world.database()
        left = await pool.fetch("SELECT customer_id FROM actions WHERE decide_at IS NOT NULL")
        assert [row["customer_id"] for row in left] == ["stays"]
        for table in ("actions", "profiles", "standing", "deliveries"):
            count = await pool.fetchval(f"SELECT count(*) FROM {table} WHERE customer_id = 'erased'")
            assert count == 0, table
        assert receiver.arrived == []


async def test_a_play_that_is_gone_cancels_what_it_left_waiting(world: World) -> None:
    world.endpoints(f"endpoints: [{{name: crm, url: 'https://crm.example.org/', secret: {SECRET}}}]")
    world.play(WAITING)
    first = await world.start().ready()
    await world.stalled("c-1")
    await world.await_actions(1, "held")
    first.stop()
    world.play(WAITING.replace("play: later", "play: another"))
    await world.start().ready()

    (cancelled,) = await world.await_actions(1, "cancelled")
    assert cancelled["play"] == "later"
    assert cancelled["reason"].startswith("play_gone:")


async def test_a_play_for_a_lifecycle_that_does_not_exist_is_not_run_and_the_error_names_those_that_do(
    world: World,
) -> None:
    world.endpoints(f"endpoints: [{{name: crm, url: 'https://crm.example.org/', secret: {SECRET}}}]")
    world.play(WIN_BACK.replace("service-cycle", "service-circle"))
    process = world.start()

    async def message() -> bool:
        return (
            "play.yaml:3: when.lifecycle: there is no lifecycle 'service-circle': known are courtship, experience,"
            in process.log.read_text()
        )

    await wait_until(message, seconds=60)

    async def reported() -> bool:
        async with httpx.AsyncClient(timeout=60) as client:
            answer = await client.get(f"{process.url}/readyz")
        return answer.status_code == 503 and "service-circle" in answer.json()["checks"]["start"]

    await wait_until(reported, seconds=60)
    assert "Traceback" not in process.log.read_text()
    assert process.stop() == 0


async def test_facts_wait_until_the_touchpoints_before_them_are_read(world: World) -> None:
    """The consent came before the fact on another topic; however the topics are polled, it counts."""
    world.endpoints(
        "endpoints: [{name: mail, type: email, smtp: {host: 127.0.0.1, port: 9, tls: none}, from: 'a@example.org'}]"
    )
    world.play("""
play: mails
when: {fact: stage-changed, move: advance}
action: {channel: email, subject: Hello, body: Hello}
""")
    for number in range(40):
        await world.touchpoint(f"c-{number}", email=f"c-{number}@example.org")
        await world.touchpoint(f"c-{number}", "unsubscribed", channel="email")
        await world.moved(f"c-{number}", "acquisition")
    await world.start().ready()
    held = await world.await_actions(40, "held")

    assert {one["reason"].split(":")[0] for one in held} <= {"no_consent", "suppressed"}
    assert len({one["customer_id"] for one in held}) == 40
    assert await world.actions("decided") == []


async def test_subscribed_endpoints_get_every_fact_they_asked_for(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        world.crm(receiver, ", subscribe: [stage-changed, customer-erased], moves: [regress, lapse]")
        await world.start().ready()
        await world.moved("c-1", "acquisition")
        regress = await world.moved("c-1", "reach", "regress", before="acquisition")
        await world.stalled("c-1", "reach")

        async def arrived(count: int) -> bool:
            return len(receiver.arrived) == count

        await wait_until(lambda: arrived(1))
        # An erasure takes along what has not been sent yet, so it comes after.
        await world.news("customer-erased", "c-1")
        await wait_until(lambda: arrived(2))
        moved, erased = (one.json for one in receiver.arrived)
        assert moved["type"] == "touchline.stage-changed"
        assert moved["data"]["move"] == "regress"
        assert moved["data"]["fact_id"] == regress
        assert erased["type"] == "touchline.customer-erased"
        assert [one.verdict for one in receiver.arrived] == ["valid", "valid"]


async def test_a_merged_customer_brings_along_consent_and_what_was_sent(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        world.crm(receiver)
        world.play(capped("capped") + "if: {profile: {traits.plan: pro}}\n")
        await world.start().ready()
        await world.touchpoint("anon:a", "identified", properties={"plan": "pro"})
        await world.stalled("anon:a")
        await world.await_actions(1, "sent")
        await world.news("customer-merged", "anon:a", into="c-1", fact_no=1)
        await world.settled()
        # What comes later under the old key belongs to the customer, too.
        await world.touchpoint("anon:a", "identified", properties={"city": "Oslo"})
        await world.settled()
        await world.stalled("c-1")

        (held,) = await world.await_actions(1, "held")
        assert held["customer_id"] == "c-1"
        assert held["reason"].startswith("capped_customer:")
        pool = await world.database()
        (row,) = await pool.fetch("SELECT customer_id, profile FROM profiles")
        assert row["customer_id"] == "c-1"
        assert '"trait.city"' in row["profile"]


async def test_touchpoints_from_before_an_erasure_build_no_profile_anew(world: World) -> None:
    await world.start().ready()
    await world.touchpoint("c-1", email="ada@example.org")
    await world.news("customer-erased", "c-1")
    await world.settled()
    before = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    await world.touchpoint("c-1", email="ada@example.org", occurred_at=before)
    ahead = (datetime.now(UTC) + timedelta(minutes=4)).isoformat()
    await world.touchpoint("c-1", email="ada@example.org", occurred_at=ahead, received_at=before)
    await world.touchpoint("c-2")
    await world.settled()

    pool = await world.database()
    rows = await pool.fetch("SELECT customer_id FROM profiles")
    assert [row["customer_id"] for row in rows] == ["c-2"]
    assert await pool.fetchval("SELECT count(*) FROM erasures WHERE key_hash::text LIKE '%c-1%'") == 0


async def test_a_record_that_can_not_be_read_goes_to_the_dead_letters_and_holds_up_nobody(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        world.crm(receiver)
        world.play(WIN_BACK)
        await world.start().ready()
        for topic in (STAGE_CHANGES, TOUCHPOINTS):
            poison = b"\x00\xff not JSON"
            await world.producer.send_and_wait(topic.full_name(world.prefix), poison, key=b"c-1\x00\xff")
        # Well formed, and yet nothing that could be kept.
        await world.stalled("c-1", stage="nowhere\x00")
        await world.touchpoint("c-1")
        await world.stalled("c-1")
        await world.await_actions(1, "sent")
        pool = await world.database()

        async def published() -> bool:
            return bool(await pool.fetchval("SELECT count(*) FROM outbox") == 0)

        await wait_until(published)
        assert len(receiver.arrived) == 1
