"""Previews by API: a draft, or the play in force, over the facts of the last days. Nothing is sent or written."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from touchline_devstack.receivers import WebhookReceiver
from touchline_schemas.times import to_wire

from tests.support.notifier.published_plays import PATH, call, publish, text
from tests.support.notifier.world import SECRET, Process, World
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack


@pytest.fixture
def receiver(world: World) -> Iterator[WebhookReceiver]:
    """The company's system, named crm."""
    with WebhookReceiver([SECRET]) as opened:
        world.crm(opened)
        yield opened


async def previewed(process: Process, **body: Any) -> dict[str, Any]:
    """The preview of win-back. On a busy machine one may be ended because it takes too long: it is asked for again."""

    async def in_time() -> dict[str, Any] | None:
        answer = await call(process, "POST", f"{PATH}/previews", json=body)
        assert answer.status_code in (200, 503), answer.text
        return answer.json() if answer.status_code == 200 else None

    found: dict[str, Any] = await wait_until(in_time, seconds=240)
    return found


def counts(found: dict[str, Any]) -> dict[tuple[str, str | None], int]:
    return {(one["outcome"], one["reason"]): one["actions"] for one in found["outcomes"]}


async def test_a_preview_shows_who_would_get_what_and_what_holds_back_the_rest(
    world: World, receiver: WebhookReceiver
) -> None:
    process = await world.start().ready()
    for customer, plan in (("c-1", "pro"), ("c-2", "pro"), ("c-3", "free")):
        await world.touchpoint(customer, "identified", properties={"plan": plan, "first_name": customer.upper()})
        await world.stalled(customer)
    await world.stalled("c-4", due_at=datetime.now(UTC) - timedelta(days=3))
    old = to_wire(datetime.now(UTC) - timedelta(days=400))
    await world.stalled("c-5", backfill=True, due_at=datetime.fromisoformat(old), occurred_at=old)
    await world.settled()

    draft = text(1, "if: {profile: {traits.plan: {exists: true}}}\n").replace(
        "draft 1 for", "Hello {{ traits.first_name }},"
    )
    found = await previewed(process, definition=draft)
    assert counts(found) == {("would_be_sent", None): 3}
    assert (found["play"], found["facts"], found["customers"], found["share"]) == ("win-back", 5, 5, 1)
    assert {one["customer_id"]: one["body"] for one in found["items"]} == {
        f"c-{n}": f"Hello C-{n}, c-{n}" for n in (1, 2, 3)
    }
    # Without the condition, the template fails for those who have no name; old and imported facts are never sent.
    rest = await previewed(process, definition=draft.replace("traits.plan", "customer_id"))
    assert counts(rest) == {
        ("would_be_sent", None): 3, ("held", "too_old"): 1, ("held", "backfill"): 1,
    }  # fmt: skip
    by_customer = {one["customer_id"]: one for one in rest["items"]}
    assert [limit["code"] for limit in by_customer["c-4"]["limits"]] == ["too_old"]
    as_if_live = await previewed(
        process, definition=draft.replace("traits.plan", "customer_id"), ignore_backfill=True, customer_id="c-5"
    )
    assert counts(as_if_live) == {("held", "template"): 1}
    assert "first_name" in as_if_live["items"][0]["reason"]
    # A delay is followed to its end; the play in force competes with the draft for the same caps.
    caps = "delay: 1h\nlimits: {per_customer: {count: 1, within: 7d}, max_age: 30d, when_capped: drop}\n"
    assert (await publish(process, text(1, caps + "contact: true\n"))).status_code == 201
    waited = await previewed(process)
    assert counts(waited) == {("would_be_sent", None): 4, ("held", "backfill"): 1}
    assert [step["reason"].split(":")[0] for step in waited["items"][0]["waited"]] == ["delay"]
    assert (await previewed(process, limit=1))["outcomes"] == waited["outcomes"]
    assert len((await previewed(process, limit=1))["items"]) == 2
    assert (await call(process, "GET", "/v1/audit")).json()["items"][0]["action"] == "play_published"
    # A play that is off is previewed as if it were on.
    await call(process, "PUT", f"{PATH}/switch", json={"enabled": False})
    assert counts(await previewed(process)) == counts(waited)
    pool = await world.database()
    assert await pool.fetchval("SELECT count(*) FROM actions") == 0
    assert await world.published() == []
    assert receiver.arrived == []


async def test_wrong_input_is_answered_with_what_to_do(world: World, receiver: WebhookReceiver) -> None:
    process = await world.start().ready()
    path = f"{PATH}/previews"
    missing = await call(process, "POST", path, json={})
    assert (missing.status_code, "definition" in missing.json()["detail"]) == (404, True)
    wrong = await call(process, "POST", path, json={"definition": text(1).replace("crm", "erp")})
    assert (wrong.status_code, wrong.json()["errors"][0]["line"]) == (422, 3)
    other = await call(process, "POST", path, json={"definition": text(1).replace("win-back", "another")})
    assert (other.status_code, other.json()["errors"][0]["path"]) == (422, "play")
    for body in ({"days": 0}, {"days": 32}, {"limit": 501}, {"customer_id": ""}, {"customer_id": "\x00"}, {"no": 1}):
        assert (await call(process, "POST", path, json={"definition": text(1)} | body)).status_code == 422, body


async def test_one_preview_runs_at_a_time_and_others_are_told_to_wait(world: World, receiver: WebhookReceiver) -> None:
    process = await world.start().ready()
    await world.stalled("c-1")
    await world.settled()
    answers = await asyncio.gather(
        *(call(process, "POST", f"{PATH}/previews", json={"definition": text(1)}) for _ in range(5))
    )
    # 503: one that takes too long on a busy machine is ended.
    assert {answer.status_code for answer in answers} <= {200, 429, 503}
    assert sum(answer.status_code != 429 for answer in answers) >= 1
    for answer in answers:
        if answer.status_code != 200:
            assert answer.headers["retry-after"]
            assert "try again" in answer.json()["detail"] or "fewer days" in answer.json()["detail"]
    assert counts(await previewed(process, definition=text(1))) == {("would_be_sent", None): 1}
