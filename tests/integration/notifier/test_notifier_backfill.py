"""Kind: facts of imported history. Plays never act on them; `preview` and subscribers see them where they ask."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from touchline_devstack.receivers import WebhookReceiver

from tests.support.notifier.world import SECRET, World
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

PLAY = """
play: win-back
when: {fact: customer-stalled, lifecycle: service-cycle}
action: {channel: webhook, endpoint: crm, subject: "For {{ customer_id }}", body: "We miss you, {{ customer_id }}"}
"""


def previewed(world: World, *arguments: str) -> str:
    process = world.start("preview", *arguments)
    assert process.popen.wait(180) == 0, process.log.read_text()
    return process.log.read_text()


def decisions(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith('{"at"')]


async def test_preview_ignores_the_flag_of_imported_history_where_asked_to_and_sends_nothing(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        world.crm(receiver)
        running = await world.start().ready()
        past = datetime.now(UTC) - timedelta(days=300)
        for customer in ("c-1", "c-2"):
            await world.touchpoint(customer, backfill=True)
            await world.stalled(customer, due_at=past, backfill=True)
        await world.stalled("c-3")
        await world.settled()
        running.stop()
        world.play(PLAY)

        held = decisions(previewed(world, "--json"))
        assert {one["customer_id"] for one in held if "backfill" in [limit["code"] for limit in one["limits"]]} == {
            "c-1",
            "c-2",
        }
        text = previewed(world)
        assert "backfill: 2" in text
        assert "--ignore-backfill" in text

        ignoring = decisions(previewed(world, "--json", "--ignore-backfill"))
        assert {one["customer_id"] for one in ignoring} == {"c-1", "c-2", "c-3"}
        for one in ignoring:
            codes = [limit["code"] for limit in one["limits"]]
            assert "backfill" not in codes
            assert "too_old" not in codes, "each is taken as if it had just happened"
            assert one["body"] == f"We miss you, {one['customer_id']}"
            assert one["subject"] == f"For {one['customer_id']}"
        assert "backfill" not in previewed(world, "--ignore-backfill").replace("--ignore-backfill", "")
        for day, customers in ((past, {"c-1", "c-2"}), (past - timedelta(days=1), set())):
            found = decisions(previewed(world, "--json", "--day", f"{day:%Y-%m-%d}", "--ignore-backfill"))
            assert {one["customer_id"] for one in found} == customers, "imported facts belong to their own day"
            assert {(one["lifecycle"], one["stage"]) for one in found} <= {("service-cycle", "retention")}
        assert receiver.arrived == []
    assert await world.published() == []


async def test_a_subscriber_gets_facts_of_imported_history_by_webhook_if_it_asks_for_them_and_not_otherwise(
    world: World,
) -> None:
    with WebhookReceiver([SECRET]) as asking, WebhookReceiver([SECRET]) as other:
        subscribe = "subscribe: [stage-changed, customer-stalled]"
        world.endpoints(
            "endpoints:\n"
            f"  - {{name: all, url: '{asking.url}', secret: {{env: CRM_SECRET}}, {subscribe}, backfill: true}}\n"
            f"  - {{name: now, url: '{other.url}', secret: {{env: CRM_SECRET}}, {subscribe}}}\n"
        )
        await world.start().ready()
        past = {
            await world.moved("c-1", "acquisition", backfill=True),
            await world.stalled("c-1", backfill=True),
        }
        present = {await world.moved("c-2", "acquisition"), await world.stalled("c-2")}

        def facts(receiver: WebhookReceiver) -> set[str]:
            assert all(one.verdict == "valid" for one in receiver.arrived)
            return {json.dumps(one.json) for one in receiver.arrived}

        def named(receiver: WebhookReceiver) -> set[str]:
            return {fact for fact in past | present if any(fact in text for text in facts(receiver))}

        await wait_until(lambda: len(facts(asking)) >= 4 and len(facts(other)) >= 2, "the webhooks arrive")
        await world.settled()
        assert len(facts(asking)) == 4
        assert len(facts(other)) == 2
        flags = sorted(one.json["data"]["backfill"] for one in asking.arrived)
        assert flags == [False, False, True, True]
        assert [one.json["data"]["backfill"] for one in other.arrived] == [False, False]
        assert {one.json["data"]["customer_id"] for one in other.arrived} == {"c-2"}
