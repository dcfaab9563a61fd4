"""One customer by API: a stage set by hand, everything exported, everything erased; each with a reason in the log."""

import hashlib
import signal
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.support.engine.expected import assert_sound, utc_now
from tests.support.engine.world import Process, World, touchpoint
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

ODD = "odd/id with <b>markup</b> & ünïcode?"


async def ask(process: Process, method: str, path: str, **options: Any) -> httpx.Response:
    async with httpx.AsyncClient(timeout=60) as client:
        return await client.request(method, httpx.URL(f"http://127.0.0.1:{process.port}").join(path), **options)


def path_of(customer: str, *steps: str) -> str:
    quoted = "".join(f"%{byte:02X}" for byte in customer.encode())
    return "/".join([f"/v1/customers/{quoted}", *steps])


async def test_a_stage_is_set_by_hand_with_a_reason_and_through_the_topic(world: World) -> None:
    engine = await world.running()
    at = utc_now() - timedelta(days=1)
    long = touchpoint("three", at, external_id="x" * 250)
    await world.post([touchpoint("one", at, customer_id="kim-1"), touchpoint("two", at, anonymous_id="d-1"), long])
    await world.folded(3)
    body = {"lifecycle": "trial", "stage": "buy", "reason": "Bought in the shop"}
    for customer in ("kim-1", "anon:d-1"):
        answer = await ask(engine, "POST", path_of(customer, "stage"), json=body)
        assert answer.status_code == 202, answer.text

    async def moved() -> bool:
        stages = [await world.get(path_of(customer)) for customer in ("kim-1", "anon:d-1")]
        return [one["stages"]["trial"]["stage"] for one in stages] == ["buy", "buy"]

    await wait_until(moved, "both are moved")
    await world.published()
    moves = [fact for fact in await world.facts() if fact.get("to_stage") == "buy"]
    assert [(fact["reason"]["kind"], fact["reason"]["text"]) for fact in moves] == [
        ("manual", "Bought in the shop")
    ] * 2
    status = await world.get(f"/v1/touchpoints/touchline/{answer.json()['id']}")
    assert status["status"] == "folded"
    entries = (await world.get("/v1/audit"))["items"]
    assert [(one["action"], one["reason"], one["after"]["stage"]) for one in entries] == [
        ("stage_set", "Bought in the shop", "buy")
    ] * 2
    assert "kim-1" not in str(entries)
    for wrong in (
        body | {"stage": "nowhere"}, body | {"lifecycle": "none"}, {"lifecycle": "trial", "stage": "buy"},
        body | {"reason": ""}, body | {"reason": "a\x00b"},
    ):  # fmt: skip
        assert (await ask(engine, "POST", path_of("kim-1", "stage"), json=wrong)).status_code == 422, wrong
    assert (await ask(engine, "POST", path_of("nobody", "stage"), json=body)).status_code == 404
    refused = await ask(engine, "POST", path_of(f"ext:{long['source']}:{long['external_id']}", "stage"), json=body)
    assert (refused.status_code, "more than 256 characters" in refused.text) == (422, True)
    assert len((await world.get("/v1/audit"))["items"]) == len(entries)
    assert_sound(await world.facts())


async def test_everything_stored_of_a_customer_is_exported_as_json_and_as_a_page(world: World) -> None:
    engine = await world.running()
    at = utc_now() - timedelta(days=200)
    posted = [
        touchpoint(f"t{n}", at + timedelta(hours=n), customer_id=ODD, properties={"n": n, "note": "</script><b>x</b>"})
        for n in range(2500)
    ]
    posted.append(touchpoint("other", at, customer_id="somebody else"))
    posted.append(touchpoint("linked", at, customer_id=ODD, anonymous_id="device-1"))
    await world.post(posted)
    await world.folded(len(posted))
    exported = await ask(engine, "GET", path_of(ODD, "export"))
    assert exported.headers["content-disposition"] == 'attachment; filename="customer.json"'
    found = exported.json()
    assert (found["customer_id"], found["touchpoint_count"], len(found["touchpoints"])) == (ODD, 2501, 2501)
    assert {one["id"] for one in found["touchpoints"]} == {one["id"] for one in posted} - {"other"}
    assert found["touchpoints"] == sorted(found["touchpoints"], key=lambda one: (one["occurred_at"], one["id"]))
    assert found["history"][0]["move"] == "enter"
    assert found["stages"]["trial"]["sequence"] == len([one for one in found["history"] if one["fact"] == "move"])
    page = await ask(engine, "GET", path_of(ODD, "export") + "?format=html")
    assert page.headers["content-type"].startswith("text/html")
    assert "<b>" not in page.text
    assert page.text.count("<tr>") > 2500
    assert (await ask(engine, "GET", path_of("nobody", "export"))).status_code == 404


async def test_a_customer_is_erased_by_api_though_processes_are_killed(world: World) -> None:
    first = await world.running()
    at = utc_now() - timedelta(days=3)
    await world.post(
        [touchpoint(f"t{n}", at, customer_id="kim-1", anonymous_id="d-1") for n in range(20)]
        + [touchpoint("kept", at, customer_id="c-2")]
    )
    await world.folded(21)
    api = await world.running(verb="serve")
    asked = await ask(api, "DELETE", path_of("kim-1"), params={"reason": "asked by mail"})
    assert asked.status_code == 202, asked.text
    for process in world.processes:
        process.signal(signal.SIGKILL)
    # Under its name, which belongs to its port, it takes over at once.
    engine = world.start(port=first.port)
    await engine.ready()
    receipt = f"/v1/erasures/{asked.json()['receipt']}"

    async def complete() -> bool:
        return bool((await ask(engine, "GET", receipt)).json()["complete"])

    await wait_until(complete, "everything is erased")
    await world.published()
    assert await world.get("/v1/customers/c-1") is None
    assert await world.get("/v1/customers/c-2") is not None
    (entry,) = (await world.get("/v1/audit"))["items"]
    assert (entry["action"], entry["reason"]) == ("erasure_requested", "asked by mail")
    assert entry["after"]["receipt"] == asked.json()["receipt"]
    tables = await world.sql("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    for table in (row["tablename"] for row in tables):
        text = str(await world.sql(f'SELECT t::text AS row FROM "{table}" t'))
        assert "kim-1" not in text, table
        assert hashlib.sha256(b"kim-1").hexdigest()[:16] not in text, table
