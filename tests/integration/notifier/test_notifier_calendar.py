"""Business days and holidays on each customer's own calendar, from the touchpoint with the zone to the webhook."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from touchline_devstack.receivers import Answer, WebhookReceiver
from touchline_schemas.times import to_wire

from tests.support.notifier.world import SECRET, World
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

EAST, WEST = ZoneInfo("Pacific/Kiritimati"), ZoneInfo("Pacific/Pago_Pago")
"""Twenty-five hours apart: it is never the same day in both."""

PLAY = """
play: on-business-days
when: {{fact: customer-stalled, lifecycle: service-cycle}}
action: {{channel: webhook, endpoint: crm, body: "{{{{ customer_id }}}}"}}
limits:
  business_days: {{days: [mon, tue, wed, thu, fri, sat, sun], holidays: [{holidays}]}}
  max_age: 20d
{more}
"""


async def test_a_holiday_holds_those_whose_day_it_is_until_it_is_over(world: World) -> None:
    today = datetime.now(EAST).date()
    holidays = f"{today}, {today + timedelta(days=1)}"
    over = datetime.combine(today + timedelta(days=2), time(0), tzinfo=EAST).astimezone(UTC)
    with WebhookReceiver([SECRET]) as receiver:
        world.crm(receiver)
        world.play(PLAY.format(holidays=holidays, more=""))
        first = await world.start().ready()
        for customer, zone in (("east", EAST), ("west", WEST)):
            await world.touchpoint(customer, properties={"context": {"timezone": zone.key}})
            await world.stalled(customer)
        (sent,) = await world.await_actions(1, "sent")
        assert sent["customer_id"] == "west"
        (held,) = await world.await_actions(1, "held")
        assert held["customer_id"] == "east"
        assert held["reason"].startswith("not_a_business_day: it is ")
        assert held["reason"].endswith(f" in Pacific/Kiritimati, waits until {to_wire(over)}")
        pool = await world.database()
        assert await pool.fetchval("SELECT decide_at FROM actions WHERE customer_id = 'east'") == over

        # Decided again too early, it waits on; on a day that is none of the holidays, it goes.
        await pool.execute("UPDATE actions SET decide_at = now() WHERE customer_id = 'east'")

        async def waits_on() -> bool:
            return bool(await pool.fetchval("SELECT decide_at = $1 FROM actions WHERE customer_id = 'east'", over))

        await wait_until(waits_on)
        first.stop()
        world.play(PLAY.format(holidays=today - timedelta(days=9), more=""))
        await world.start().ready()
        await pool.execute("UPDATE actions SET decide_at = now() WHERE customer_id = 'east'")
        await world.await_actions(2, "sent")
        assert [one.json["data"]["body"] for one in receiver.arrived] == ["west", "east"]
        assert len(await world.actions("held")) == 1


async def test_a_delay_of_business_days_counts_none_that_is_a_holiday_there(world: World) -> None:
    world.endpoints(f"endpoints: [{{name: crm, url: 'https://crm.example.org/', secret: {SECRET}}}]")
    today = datetime.now(EAST).date()
    tomorrow = today + timedelta(days=1)
    world.play(PLAY.format(holidays=tomorrow, more="delay: {business_days: 2}"))
    await world.start().ready()
    due = datetime.combine(today, time(12), tzinfo=EAST).astimezone(UTC)
    await world.touchpoint("c-1", properties={"context": {"timezone": EAST.key}})
    await world.stalled("c-1", due_at=due)
    (held,) = await world.await_actions(1, "held")
    third = datetime.combine(today + timedelta(days=3), time(12), tzinfo=EAST).astimezone(UTC)
    assert held["reason"] == f"delay: waits until {to_wire(third)}"


async def test_a_decision_in_the_last_moment_is_no_longer_sendable_than_its_max_age(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        receiver.answer = lambda arrived: Answer(500)
        world.crm(receiver)
        world.play(
            "play: at-once\nwhen: {fact: customer-stalled, lifecycle: service-cycle}\n"
            'action: {channel: webhook, endpoint: crm, body: "{{ customer_id }}"}\nlimits: {max_age: 1h}\n'
        )
        await world.start().ready()
        due = datetime.now(UTC) - timedelta(minutes=30)
        await world.stalled("c-1", due_at=due)
        await world.await_actions(1, "decided")
        pool = await world.database()
        assert await pool.fetchval("SELECT first_before FROM deliveries") == due + timedelta(hours=1)

        async def attempted() -> bool:
            # And not again before the test says so.
            return bool(
                await pool.fetchval(
                    "UPDATE deliveries SET next_attempt_at = now() + interval '1 hour' "
                    "WHERE attempts > 0 AND status = 'pending' RETURNING true"
                )
            )

        await wait_until(attempted)
        receiver.answer = lambda arrived: Answer(204)
        before = len(receiver.arrived)
        # The hour is over before the next attempt.
        await pool.execute("UPDATE deliveries SET first_before = now(), next_attempt_at = now()")
        (cancelled,) = await world.await_actions(1, "cancelled")
        assert cancelled["reason"].startswith("too_old: ")
        assert len(receiver.arrived) == before
