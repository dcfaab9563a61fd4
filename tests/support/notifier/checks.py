"""What every fault test of the notifier looks at in the end: each action once, in order, and none lost."""

from collections import Counter
from typing import Any

from touchline_devstack.receivers import WebhookReceiver

from tests.support.notifier.world import World
from tests.support.waiting import wait_until

PLAY = """
play: win-back
when: {fact: customer-stalled, lifecycle: service-cycle}
action: {channel: webhook, endpoint: crm, body: "{{ customer_id }}"}
"""
CUSTOMERS = 150


async def everything_sent(world: World, facts: list[str]) -> list[dict[str, Any]]:
    """Wait until every fact's action is published as sent; all events."""

    async def all_sent() -> list[dict[str, Any]]:
        events = await world.actions()
        return events if sum(one["outcome"] == "sent" for one in events) >= len(facts) else []

    return list(await wait_until(all_sent, seconds=120))


def check(events: list[dict[str, Any]], facts: list[str], receiver: WebhookReceiver) -> None:
    """Every fact one decision and one delivery, each published once and in order; webhooks repeat only their ids."""
    assert Counter(one["outcome"] for one in events) == {"decided": len(facts), "sent": len(facts)}
    assert len({one["_headers"]["ce_id"] for one in events}) == len(events)
    by_action: dict[str, list[str]] = {}
    for one in events:
        by_action.setdefault(one["action_id"], []).append(one["outcome"])
    assert set(map(tuple, by_action.values())) == {("decided", "sent")}
    assert {one["fact_id"] for one in events} == set(facts)
    whole = [one for one in receiver.arrived if one.verdict == "valid"]
    assert {one.json["data"]["fact_id"] for one in whole} == set(facts)
    assert len({one.webhook_id for one in whole}) == len(facts)
    # A process that is killed in the middle of a request leaves half of one.
    broken = [one for one in receiver.arrived if one.verdict != "valid"]
    assert all(len(one.body) < int(one.headers["content-length"]) for one in broken)
