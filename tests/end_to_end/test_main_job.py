"""The main job, seen from outside: plain HTTP, a plain Kafka consumer, a receiver of signed webhooks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any

import asyncpg
import httpx
import orjson
import pytest
from aiokafka import AIOKafkaConsumer
from standardwebhooks import Webhook, WebhookVerificationError

from tests.support.deployment import OTHER_SECRET, SECRET, Deployment
from tests.support.waiting import patience, wait_until

pytestmark = [pytest.mark.stack]


def touchpoint(identifier: str, kind: str, at: datetime, customer: str = "c-1", **more: Any) -> dict[str, Any]:
    return {"id": identifier, "type": kind, "occurred_at": at.isoformat(), "customer_id": customer} | more


async def read(deployment: Deployment, topic: str, enough: int) -> list[Any]:
    """The first records of a topic, read by a subscriber that knows only its name."""
    consumer = AIOKafkaConsumer(
        f"{deployment.topic_prefix}.{topic}.v1",
        bootstrap_servers=deployment.kafka_bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        async with asyncio.timeout(60 * patience()):
            return [await consumer.getone() for _ in range(enough)]
    finally:
        await consumer.stop()


async def test_a_touchpoint_posted_over_http_becomes_a_stage_a_fact_an_action_and_a_signed_webhook(
    deployment: Deployment,
) -> None:
    # A little ahead of the clock, as ingest allows: a stall that is due when the coffee arrives would be of the past.
    now = datetime.now(UTC) + timedelta(seconds=5)
    answer = await deployment.post(
        [
            touchpoint("a", "door_opened", now - timedelta(seconds=2)),
            touchpoint("b", "coffee_bought", now - timedelta(seconds=1), properties={"cups": 1}),
            touchpoint("b", "coffee_bought", now - timedelta(seconds=1), properties={"cups": 1}),
            {"id": "c", "type": "door_opened", "customer_id": "c-1", "occurred_at": "2026-03-01T12:00:00"},
        ]
    )
    assert answer.status_code == 202
    reported = answer.json()
    assert (reported["accepted"], reported["rejected"]) == (3, 1)
    assert [result["status"] for result in reported["results"]] == ["accepted"] * 3 + ["rejected"]
    assert "zone" in reported["results"][3]["error"]

    async def inside() -> Any:
        customer = await deployment.customer("c-1")
        return customer and customer["stages"].get("kiosk", {}).get("stage") == "inside" and customer

    customer = await wait_until(inside, "c-1 is inside")
    assert customer["touchpoints"] == 2
    assert customer["stages"]["kiosk"]["sequence"] == 2

    # Nobody posts anything any more: three seconds after the coffee, patience runs out by the clock alone.
    kiosk = [
        (record, orjson.loads(record.value))
        for record in await read(deployment, "stage-changes", 4)
        if orjson.loads(record.value)["lifecycle"] == "kiosk"
    ]
    assert [(data.get("move"), data.get("to_stage"), data.get("level")) for _, data in kiosk] == [
        ("enter", "outside", None),
        ("advance", "inside", None),
        (None, None, 1),
    ]
    assert [data["fact_no"] for _, data in kiosk] == [1, 2, 3]
    assert all(record.key == b"c-1" for record, _ in kiosk)
    headers = dict(kiosk[2][0].headers)
    assert headers["ce_type"] == b"touchline.customer-stalled"
    assert headers["ce_specversion"] == b"1.0"
    assert not kiosk[2][1]["backfill"]

    async def arrived() -> Any:
        return deployment.receiver.arrived

    (webhook, *more) = await wait_until(arrived, "the webhook arrives")
    assert not more
    verified = Webhook(SECRET).verify(webhook.body, webhook.headers)
    assert verified["data"]["customer_id"] == "c-1"
    assert verified["data"]["subject"] == "Where is c-1?"
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER_SECRET).verify(webhook.body, webhook.headers)

    actions = [orjson.loads(record.value) for record in await read(deployment, "retention-actions", 2)]
    assert [action["outcome"] for action in actions] == ["decided", "sent"]
    assert {action["play"] for action in actions} == {"call-them-in"}
    assert {action["fact_id"] for action in actions} == {headers["ce_id"].decode()}

    # The customer's latest stage is on the compacted topic, on the customer's own partition.
    async with deployment.verifier() as verifier:
        await wait_until(verifier.caught_up, "the verifier has read everything")
        assert verifier.stages.stages["c-1", "kiosk"]["stalled_level"] == 1
        assert verifier.stages.disagreements(verifier.facts) == []


async def test_a_slip_back_and_a_recovery_are_told_with_their_reasons(deployment: Deployment) -> None:
    start = datetime.now(UTC) - timedelta(minutes=1)
    await deployment.post(
        [
            touchpoint("1", "door_opened", start),
            touchpoint("2", "coffee_bought", start + timedelta(seconds=30), properties={"cups": 2}),
            touchpoint("3", "coffee_spilt", start + timedelta(seconds=40)),
        ]
    )
    async with deployment.verifier() as verifier:

        async def reported() -> bool:
            return verifier.facts.recoveries == 1 and verifier.facts.moves["regress"] == 1

        await wait_until(reported, "a recovery and a slip back")
    history = await deployment.http.get(
        f"{deployment.services['stage-engine'].url}/v1/customers/c-1/history", params={"lifecycle": "kiosk"}
    )
    assert [(item["move"], item["from_stage"], item["to_stage"]) for item in history.json()["items"]] == [
        ("enter", None, "outside"),
        ("advance", "outside", "inside"),
        ("advance", "inside", "regular"),
        ("regress", "regular", "inside"),
    ]
    assert history.json()["items"][3]["reason"]["text"] == "an accident"

    async def mopped() -> bool:
        return any(arrived.json["data"].get("body", "").startswith("Mop") for arrived in deployment.receiver.arrived)

    await wait_until(mopped, "somebody mops up")


def life(customer: str, numbers: Iterator[int], rng: Random, start: datetime) -> list[dict[str, Any]]:
    """Some touchpoints of one customer, a second apart, so that nobody stalls on the way."""
    found = []
    for second in range(rng.randrange(5, 25)):
        kind = rng.choice(("door_opened", "coffee_bought", "coffee_bought", "coffee_spilt"))
        at = start + timedelta(seconds=second)
        found.append(
            touchpoint(f"t-{next(numbers)}", kind, at, customer, properties={"cups": rng.choice((1, 1, 1, 2))})
        )
    return found


def way(touchpoints: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """What the kiosk's definition says of them, written down without the engine: (move, stage)."""
    reported, stage, coffees = [("enter", "outside")], "outside", 0
    for one in touchpoints:
        before = stage
        if one["type"] == "door_opened" and stage == "outside":
            stage = "inside"
        elif one["type"] == "coffee_bought" and stage == "inside":
            coffees += 1
            if one["properties"]["cups"] >= 2 or coffees == 3:
                stage = "regular"
        elif one["type"] == "coffee_spilt" and stage == "regular":
            stage = "inside"
        if stage != before:
            reported.append(("regress" if before == "regular" else "advance", stage))
            coffees = 0
    return reported


async def post_until_accepted(deployment: Deployment, batch: list[dict[str, Any]]) -> None:
    """What a careful caller does: no answer or a 503 means post it again, under the same ids."""
    async with asyncio.timeout(90 * patience()):
        while True:
            try:
                answer = await deployment.post(batch)
            except httpx.TransportError:
                await asyncio.sleep(0.1)
                continue
            if answer.status_code == 202:
                assert answer.json()["accepted"] == len(batch)
                return
            assert answer.status_code == 503, answer.text
            await asyncio.sleep(float(answer.headers["retry-after"]) / 5)


@pytest.mark.faults
async def test_with_each_process_killed_in_the_middle_of_a_load_nothing_is_lost_and_nothing_told_twice(
    deployment: Deployment,
) -> None:
    rng, numbers = Random("kiosk"), count()
    start = datetime.now(UTC) - timedelta(minutes=2)
    lives = {f"c-{number}": life(f"c-{number}", numbers, rng, start) for number in range(300)}
    posted = [one for touchpoints in lives.values() for one in touchpoints]
    batches = [posted[first : first + 50] for first in range(0, len(posted), 50)]
    victims = ["ingest", "stage-engine", "notifier"] * 2

    async with deployment.verifier() as verifier:

        async def load() -> None:
            for batch in batches:
                await post_until_accepted(deployment, batch)

        async def kill_each_twice() -> None:
            for number, victim in enumerate(victims, 1):
                service, share = deployment.services[victim], number / (len(victims) + 1)

                async def so_far(share: float = share) -> bool:
                    return verifier.touchpoints.published >= share * len(posted)

                await wait_until(so_far, f"{share:.0%} of the load is on the topic")
                await asyncio.to_thread(service.kill)
                assert service.exit_code == -9
                await asyncio.to_thread(service.start)
                await asyncio.to_thread(service.wait_ready)

        await asyncio.gather(load(), kill_each_twice())

        lag: dict[str, int] = {}

        async def at_rest() -> bool:
            lag.update(await verifier.lag())
            return not any(lag.values()) and await verifier.caught_up()

        await wait_until(at_rest, "everything is read", 90, seen=lambda: lag)

        async def all_acted() -> bool:
            slips = [
                fact_id
                for fact_id, fact in verifier.facts.ids.items()
                if fact["lifecycle"] == "kiosk" and fact.get("move") == "regress" and fact["reason"]["kind"] == "rule"
            ]
            mopped = {action["fact_id"] for action in verifier.actions.last.values() if action["play"] == "mop-up"}
            return mopped == set(slips) and not verifier.actions.under_way(datetime.now(UTC))

        await wait_until(all_acted, "every slip back is mopped up", 90)

        async def caught_up_again() -> bool:
            return await at_rest() and len(verifier.stages.stages) == 2 * len(lives)

        await wait_until(caught_up_again, "every customer's stages are on the compacted topic")
        assert verifier.touchpoints.distinct == len(posted)
        assert verifier.facts.complaints == []
        assert verifier.stages.disagreements(verifier.facts) == []
        assert verifier.actions.disagreements(verifier.facts) == []
        sent = {action["action_id"] for action in verifier.actions.last.values() if action["outcome"] == "sent"}
        arrived = {webhook.json["data"]["action_id"] for webhook in deployment.receiver.arrived}
        assert arrived == sent
        assert len({webhook.webhook_id for webhook in deployment.receiver.arrived}) == len(sent)

    stored = await stored_touchpoints(deployment)
    assert stored == {("till", one["id"]): 1 for one in posted}
    for customer, touchpoints in lives.items():
        history = await deployment.http.get(
            f"{deployment.services['stage-engine'].url}/v1/customers/{customer}/history",
            params={"lifecycle": "kiosk", "limit": 100},
        )
        assert [(item["move"], item["to_stage"]) for item in history.json()["items"]] == way(touchpoints)


async def stored_touchpoints(deployment: Deployment) -> dict[tuple[str, str], int]:
    """(source, id) → how many rows the engine stored, the notifier's reports apart."""
    connection = await asyncpg.connect(deployment.database_url)
    try:
        rows = await connection.fetch(
            f'SELECT source, id, count(*) AS rows FROM "stage_engine_{deployment.topic_prefix}".touchpoints '
            "WHERE source <> 'notifier' GROUP BY source, id"
        )
    finally:
        await connection.close()
    return {(row["source"], row["id"]): row["rows"] for row in rows}
