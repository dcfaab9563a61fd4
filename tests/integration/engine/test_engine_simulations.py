"""Simulations over the stored history: what one says of each customer is what publishing then does."""

import asyncio
import json
import random
import signal
import time
from collections import Counter
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.support.engine.expected import random_touchpoints, roots_of, utc_now
from tests.support.engine.random_definitions import random_definition
from tests.support.engine.standing import stand
from tests.support.engine.world import Process, World, touchpoint
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

CUSTOMERS: list[dict[str, str]] = [
    *({"customer_id": f"c{number}"} for number in range(20)),
    *({"customer_id": f"c{number}", "anonymous_id": f"d{number}"} for number in range(5)),
    *({"anonymous_id": f"d{number}"} for number in range(8)),
]


@pytest.fixture
async def live(world: World) -> World:
    """A world whose folder has no lifecycle."""
    (world.lifecycles / "trial.yaml").unlink()
    world.environment["TOUCHLINE_LIFECYCLES"] = "reach-to-loyalty"
    return world


async def ask(process: Process, method: str, path: str, **options: Any) -> httpx.Response:
    async with httpx.AsyncClient(timeout=60) as client:
        return await client.request(method, f"http://127.0.0.1:{process.port}{path}", **options)


async def publish(process: Process, text: str, **more: Any) -> int:
    answer = await ask(process, "POST", "/v1/lifecycles/trial/versions", json={"definition": text} | more)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["version"])


async def start(process: Process, text: str, **more: Any) -> str:
    answer = await ask(process, "POST", "/v1/lifecycles/trial/simulations", json={"definition": text} | more)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def ended(process: Process, simulation: str) -> dict[str, Any]:
    async def state() -> dict[str, Any] | None:
        found: dict[str, Any] = (await ask(process, "GET", f"/v1/simulations/{simulation}")).json()
        return found if found["state"] != "running" else None

    return dict(await wait_until(state, "the simulation ends", interval=0.2))


async def simulated(process: Process, text: str, **more: Any) -> dict[str, Any]:
    found = await ended(process, await start(process, text, **more))
    assert found["state"] == "done", found
    return found


async def stages(world: World) -> dict[str, str | None]:
    rows = await world.sql("SELECT customer_id, stage FROM stages WHERE lifecycle = 'trial'")
    return {row["customer_id"]: row["stage"] for row in rows}


async def test_what_a_simulation_says_of_each_customer_is_what_publishing_then_does(live: World) -> None:
    seed = random.Random(31)
    posted = random_touchpoints(seed, CUSTOMERS, 7, utc_now())
    customers = set(roots_of(posted)[0].values()) | {
        one.get("customer_id") or f"anon:{one['anonymous_id']}" for one in posted
    }
    engine = await live.running()
    running = random_definition(seed, "trial", 1)
    await publish(engine, running)
    await live.post(posted)
    await stand(live, posted, running)
    moved = 0
    for version in range(2, 6):
        candidate = random_definition(seed, "trial", version)
        before = await stages(live)
        found = await simulated(engine, candidate, plays=[{"play": "p", "when": {"fact": "stage-changed"}}])
        result = found["result"]
        changes: dict[str, tuple[str | None, str | None]] = {}
        assert (result["sampled"], result["customers"]) == (False, len(before))
        for cell in result["changes"]:
            names = {"running": cell["running"] or "", "candidate": cell["candidate"] or ""}
            listed = (await ask(engine, "GET", f"/v1/simulations/{found['id']}/changes", params=names)).json()["items"]
            assert len(listed) == cell["customers"]
            assert cell["examples"] == [one["customer_id"] for one in listed][:20]
            changes |= {one["customer_id"]: (one["running"], one["candidate"]) for one in listed}
        for customer, (now_in, _) in changes.items():
            assert before.get(customer) == now_in, customer
        assert await publish(engine, candidate, on_change="refold") == version
        await stand(live, posted, candidate.replace('"version"', '"on_change": "refold", "version"'))
        after = await stages(live)
        assert after == before | {customer: then for customer, (_, then) in changes.items()}
        assert {customer for customer in before if before[customer] != after[customer]} == changes.keys()
        assert customers >= after.keys()
        matrix = {(cell["running"], cell["candidate"]): cell["customers"] for cell in result["matrix"]}
        assert matrix == dict(Counter((before[customer], after[customer]) for customer in before))
        assert sum(step["reached"] for step in result["candidate"]["funnel"][:1]) == len(after)
        assert Counter(after.values()) == Counter(result["candidate"]["now_in"])
        stalled = await live.sql("SELECT count(*) AS n FROM stages WHERE lifecycle = 'trial' AND stalled_level > 0")
        assert sum(one["count"] for one in result["candidate"]["stalled_now"]) == stalled[0]["n"]
        moved += len(changes)
    assert moved > 10, "the definitions differ"
    # Pinned from now on, a version moves nobody at once; from a past instant on, exactly these.
    candidate = random_definition(seed, "trial", 6)
    assert (await simulated(engine, candidate))["result"]["move_at_once"]["pin"] == 0
    since = {"on_change": "pin", "effective_from": (utc_now() - timedelta(days=100)).isoformat()}
    before = await stages(live)
    at_once = (await simulated(engine, candidate, **since))["result"]["move_at_once"]["pin"]
    await publish(engine, candidate, **since)

    async def taken_up() -> bool:
        after = await stages(live)
        return bool(at_once == sum(before[customer] != after[customer] for customer in before))

    async def refolded() -> bool:
        return await engine.metric("touchline_refolds_pending") == 0

    await wait_until(taken_up, f"{at_once} customers move at once")
    await wait_until(refolded, "no customer waits to be folded again")
    assert await taken_up(), "the customers that were folded last do not move"


async def test_a_simulation_reports_a_sample_first_and_holds_up_no_vacuum(live: World) -> None:
    engine = await live.running()
    seed = random.Random(32)
    await publish(engine, random_definition(seed, "trial", 1))
    at = utc_now() - timedelta(days=30)
    await live.post(
        touchpoint(f"t{number}-{n}", at + timedelta(minutes=seed.randrange(40_000)), customer_id=f"c{number}")
        for number in range(5000)
        for n in range(2)
    )
    await live.folded(10_000)
    schema = f'"stage_engine_{live.prefix}"'
    await live.sql("CREATE TABLE results (number serial, result jsonb)")
    await live.sql(
        f"CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN INSERT INTO {schema}.results (result) VALUES (NEW.result); RETURN NULL; END $$"
    )
    await live.sql("CREATE TRIGGER keep AFTER UPDATE OF result ON simulations FOR EACH ROW EXECUTE FUNCTION keep()")
    simulation = await start(engine, random_definition(seed, "trial", 2))
    began = time.monotonic()
    seen: list[dict[str, Any]] = []
    oldest: list[float] = []

    async def done() -> bool:
        seen.append((await ask(engine, "GET", f"/v1/simulations/{simulation}")).json())
        rows = await live.sql(
            "SELECT extract(epoch FROM clock_timestamp() - xact_start)::float8 AS age FROM pg_stat_activity "
            "WHERE application_name = 'touchline simulation' AND backend_xmin IS NOT NULL"
        )
        oldest.extend(row["age"] for row in rows)
        return bool(seen[-1]["state"] == "done")

    await wait_until(done, "the simulation is done", interval=0.01)
    # Read in one transaction, the history would hold up the vacuum for nearly all of the time, on any machine.
    assert max(oldest, default=0) < max(2, (time.monotonic() - began) / 2)
    assert (seen[-1]["result"]["sampled"], seen[-1]["result"]["customers"]) == (False, 5000)
    # Every result that was readable through the API at some time; which of them were seen is chance.
    first, last = [json.loads(row["result"]) for row in await live.sql("SELECT result FROM results ORDER BY number")]
    assert (first["sampled"], last["sampled"]) == (True, False)
    assert 1500 < first["customers"] < 3500
    assert [one["progress"].get("share", 0) for one in seen[-1:]] == [1.0]


async def test_a_simulation_is_cancelled_and_one_whose_process_ends_fails(live: World) -> None:
    engine = await live.running()
    api = await live.running(verb="serve")
    seed = random.Random(33)
    text = random_definition(seed, "trial", 1)
    await live.post([touchpoint(f"t{n}", utc_now(), customer_id=f"c{n}") for n in range(100)])
    await live.folded(100)
    first = await start(api, text)
    cancelled = (await ask(engine, "DELETE", f"/v1/simulations/{first}")).json()
    assert cancelled["state"] in ("cancelled", "done")
    second = await start(api, text)
    api.signal(signal.SIGKILL)
    state = await ended(engine, second)
    assert state["state"] in ("failed", "done")
    running = [asyncio.create_task(ask(engine, "POST", "/v1/lifecycles/trial/simulations", json={"definition": text}))
               for _ in range(6)]  # fmt: skip
    statuses = Counter([answer.status_code for answer in await asyncio.gather(*running)])
    assert statuses.keys() <= {202, 429}, statuses
    missing = await ask(engine, "GET", "/v1/simulations/00000000-0000-0000-0000-000000000000")
    assert missing.status_code == 404
    wrong = await ask(engine, "POST", "/v1/lifecycles/trial/simulations", json={"definition": "stages: []"})
    assert (wrong.status_code, bool(wrong.json()["errors"])) == (422, True)
