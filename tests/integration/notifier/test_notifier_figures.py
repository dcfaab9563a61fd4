"""Figures for people equal plain counts over the notifier's tables, and every attempt is on record."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from touchline_devstack.receivers import Answer, WebhookReceiver

from tests.support.notifier.world import SECRET, World
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

PLAY = """
play: half
when: {fact: customer-stalled, lifecycle: service-cycle}
action: {channel: webhook, endpoint: crm, body: "{{ customer_id }}"}
"""
BUSY = 503
REFUSED = 422


async def test_figures_are_plain_counts_and_every_attempt_is_kept(world: World) -> None:
    first: set[str] = set()

    def answer(arrived: Any) -> Answer:
        customer = arrived.json["data"]["customer_id"]
        if customer == "c-1":
            return Answer(REFUSED, body=b"no such <b>contact</b>")
        if customer == "c-2" and customer not in first:
            first.add(customer)
            return Answer(BUSY, headers={"Retry-After": "1"}, body=b"later please")
        return Answer(204)

    with WebhookReceiver([SECRET]) as receiver:
        receiver.answer = answer
        world.crm(receiver)
        world.play(PLAY, "half")
        process = await world.start().ready()
        for number in range(8):
            await world.stalled(f"c-{number}")
        pool = await world.database()

        async def ended() -> bool:
            sent = await pool.fetchval("SELECT count(*) FROM actions WHERE outcome = 'sent'")
            refused = await pool.fetchval("SELECT max(attempts) FROM deliveries WHERE customer_id = 'c-1'")
            return bool(sent == 7 and refused)

        await wait_until(ended)
        async with httpx.AsyncClient(timeout=60, base_url=process.url) as client:

            async def get(path: str, **parameters: Any) -> Any:
                found = await client.get(path, params=parameters)
                assert found.status_code == 200, found.text
                return found.json()

            totals = await get("/v1/action-totals")
            for outcome in ("sent", "failed", "held", "held_out", "cancelled"):
                counted = await pool.fetchval("SELECT count(*) FROM actions WHERE outcome = $1", outcome)
                assert totals[outcome] == counted, outcome
            assert totals["sent"] == 7
            earlier = (datetime.now(UTC) - timedelta(days=9)).isoformat()
            nothing = await get("/v1/action-totals", until=earlier)
            assert nothing["sent"] == 0
            figures = await get("/v1/plays/half/figures")
            assert (figures["funnel"]["facts"], figures["funnel"]["sent"]) == (8, 7)
            assert figures["funnel"]["decided"] == 8
            assert sum(day["sent"] for day in figures["days"]) == 7

            async def attempts_of(customer: str) -> list[dict[str, Any]]:
                (delivery,) = (await get("/v1/deliveries", customer_id=customer))["items"]
                return list((await get(f"/v1/deliveries/{delivery['id']}/attempts"))["items"])

            refused = (await attempts_of("c-1"))[0]
            assert (refused["result"], refused["status"], refused["attempt"]) == ("retry", REFUSED, 1)
            assert "no such <b>contact</b>" in refused["answer"]
            again, sent = await attempts_of("c-2")
            assert (again["result"], again["status"], sent["result"]) == ("retry", BUSY, "sent")
            assert "later please" in again["answer"]
            assert again["milliseconds"] >= 0
            assert again["at"] < sent["at"]

            (crm,) = (await get("/v1/endpoint-figures"))["items"]
            assert crm["succeeded"] == 7
            assert {one["reason"] for one in crm["failures"]} == {str(REFUSED), str(BUSY)}

            async def waits() -> bool:
                # Not while it is tried again.
                return bool((await get("/v1/operations"))["deliveries_pending"] == 1)

            await wait_until(waits, "the refused delivery waits for its next attempt")
            operations = await get("/v1/operations")
            assert "postgresql://" not in str(operations["settings"])
