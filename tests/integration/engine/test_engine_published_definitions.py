"""Definitions published while engines run: taken up by all of them, each customer under one version at a time."""

import asyncio
import hashlib
import random
import signal
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from touchline_devstack.stack import Stack

from tests.support.engine.expected import assert_sound, random_touchpoints, utc_now
from tests.support.engine.standing import stand
from tests.support.engine.world import LIFECYCLE, Process, World, touchpoint
from tests.support.open_transactions import no_transactions
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

CUSTOMERS = [{"customer_id": f"c{n}"} for n in range(12)]
SECOND = LIFECYCLE.replace("count: 3", "count: 2").replace("after: 40d", "after: 50d")
THIRD = SECOND.replace("name: try", "name: attempt").replace("to: try}", "to: attempt}")
PATH = "/v1/lifecycles/trial/versions"


def numbered(text: str, version: int, on_change: str = "pin") -> str:
    return text.replace("version: 1", f"version: {version}\non_change: {on_change}")


@pytest.fixture
async def live(stack: Stack, database_url: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[World]:
    """A world whose folder has no lifecycle."""
    async with World.open(stack.kafka_bootstrap, database_url, topic_prefix, tmp_path) as world:
        (world.lifecycles / "trial.yaml").unlink()
        world.environment["TOUCHLINE_LIFECYCLES"] = "reach-to-loyalty"
        yield world


async def call(process: Process, method: str, path: str, token: str = "", **options: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(timeout=60) as client:
        return await client.request(method, f"http://127.0.0.1:{process.port}{path}", headers=headers, **options)


async def publish(process: Process, text: str, **more: Any) -> httpx.Response:
    return await call(process, "POST", PATH, json={"definition": text} | more)


async def test_running_engines_take_up_what_is_published_and_fold_nobody_under_two_versions(live: World) -> None:
    posted = random_touchpoints(random.Random(21), CUSTOMERS, 30, utc_now())
    one = await live.running()
    await live.running()
    assert (await publish(one, LIFECYCLE, comment="as it was")).status_code == 201
    await live.post(posted[:60])
    await stand(live, posted[:60], LIFECYCLE)

    async def load() -> None:
        for begin in range(60, 300, 10):
            await live.post(posted[begin : begin + 10])
            await asyncio.sleep(0.02)

    loading = asyncio.create_task(load())
    answer = await publish(one, numbered(SECOND, 2, "refold"), comment="sooner")
    assert (answer.status_code, answer.json()) == (201, {"version": 2, "changed": True})
    await loading
    await stand(live, posted[:300], numbered(SECOND, 2, "refold"))
    renamed = await publish(one, THIRD, base=2, on_change="refold")
    assert renamed.json() == {"version": 3, "changed": True}
    await live.post(posted[300:])
    await stand(live, posted, numbered(THIRD, 3, "refold"))
    back = await publish(one, LIFECYCLE, base=3, on_change="refold", comment="as it was")
    assert back.json()["version"] == 4
    await stand(live, posted, numbered(LIFECYCLE, 4, "refold"))
    assert all(process.popen.poll() is None for process in live.processes), "no process was restarted"

    facts = await live.facts()
    assert_sound(facts)
    versions: dict[str, int] = {}
    for fact in facts:
        if fact["lifecycle"] == "trial":
            assert fact["lifecycle_version"] >= versions.get(fact["customer_id"], 0), fact
            versions[fact["customer_id"]] = fact["lifecycle_version"]

    async def announced() -> bool:
        keys = {record.key.decode() for record in await live.records("lifecycles") if record.value}
        return keys >= {f"trial/{number}" for number in (1, 2, 3, 4)}

    await wait_until(announced, "every version is announced")
    listed = (await live.get(PATH))["items"]
    assert [(item["version"], item["author"], item["comment"]) for item in listed] == [
        (4, "local", "as it was"), (3, "local", ""), (2, "local", "sooner"), (1, "local", "as it was"),
    ]  # fmt: skip
    assert [item["in_force"] for item in listed] == [True, False, False, False]

    # A restart keeps what was published.
    for process in live.processes:
        process.signal(signal.SIGTERM)
        await process.ended()
    await live.running()
    await stand(live, posted, numbered(LIFECYCLE, 4, "refold"))
    stored = await live.get(f"{PATH}/3")
    assert "version: 3" in stored["definition"]
    assert "reason: keeps coming back" in stored["definition"]


async def test_a_pinned_version_applies_from_its_publication_on(live: World) -> None:
    posted = random_touchpoints(random.Random(22), CUSTOMERS[:4], 10, utc_now() - timedelta(days=1))
    engine = await live.running()
    assert (await publish(engine, LIFECYCLE)).json()["version"] == 1
    await live.post(posted)
    await stand(live, posted, LIFECYCLE)
    await live.published()
    number = len(await live.facts())
    assert (await publish(engine, numbered(SECOND, 2))).json()["version"] == 2
    await live.post([touchpoint("new", utc_now(), customer_id="c-new")])

    async def entered() -> bool:
        found = await live.get("/v1/customers/c-new")
        return bool(found) and found["stages"].get("trial", {}).get("version") == 2

    await wait_until(entered, "a new customer enters under the published version")
    for customer in CUSTOMERS[:4]:
        assert (await live.get(f"/v1/customers/{customer['customer_id']}"))["stages"]["trial"]["version"] == 1
    await live.published()
    facts = await live.facts()
    new = [fact for fact in facts if fact["customer_id"] == "c-new"]
    assert len(facts) == number + len(new), "nobody else moves"
    # From a past instant on: who had a touchpoint since then is folded again.
    past = await publish(engine, THIRD, base=2, on_change="pin", effective_from="2020-01-01T00:00:00Z")
    assert past.json()["version"] == 3

    async def all_renamed() -> bool:
        stages = [(await live.get(f"/v1/customers/{one['customer_id']}"))["stages"]["trial"] for one in CUSTOMERS[:4]]
        return {stage["version"] for stage in stages} == {3}

    await wait_until(all_renamed, "the version is in force since 2020")
    assert_sound(await live.facts())


async def test_of_many_authors_with_the_same_base_one_publishes_and_nothing_is_lost(live: World) -> None:
    engine = await live.running()
    await publish(engine, LIFECYCLE)
    drafts = [SECOND.replace("count: 2", f"count: {number}") for number in range(2, 8)]
    for bodies in (
        [{"definition": numbered(draft, 2)} for draft in drafts],
        [{"definition": draft, "base": 2} for draft in drafts],
    ):
        answers = await asyncio.gather(*(call(engine, "POST", PATH, json=body) for body in bodies))
        assert sorted(answer.status_code for answer in answers) == [201, *[409] * (len(drafts) - 1)]
        refused = next(answer for answer in answers if answer.status_code == 409).json()
        assert refused["type"] == "/problems/conflict"
        assert refused["in_force"] in (2, 3)
    # The same again is no change; the same number with another text is a conflict.
    text = (await live.get(f"{PATH}/3"))["definition"]
    again = await publish(engine, text)
    assert (again.status_code, again.json()) == (200, {"version": 3, "changed": False})
    assert (await publish(engine, numbered(LIFECYCLE, 3))).status_code == 409
    entries = [entry for entry in (await live.get("/v1/audit"))["items"] if entry["action"] == "lifecycle_published"]
    assert [entry["after"]["version"] for entry in entries] == [3, 2, 1]
    assert entries[0]["before"]["version"] == 2
    assert len((await live.get(PATH))["items"]) == 3


async def test_publishing_survives_kill_9_at_any_moment(live: World) -> None:
    engine = await live.running()
    await publish(engine, LIFECYCLE)
    seed = random.Random(23)
    published = 1
    for turn in range(4):
        api = await live.running(verb="serve")
        asked = [asyncio.create_task(publish(api, SECOND, comment=f"{turn}-{n}", on_change="refold")) for n in range(3)]
        asked += [
            asyncio.create_task(publish(api, THIRD, base=base, comment=f"{turn}-{base}"))
            for base in range(published, published + 3)
        ]
        await asyncio.sleep(seed.random() * 0.05)
        api.signal(signal.SIGKILL)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        connection = await asyncpg.connect(live.database_url)
        await no_transactions(connection)
        await connection.close()
        rows = await live.sql("SELECT version, comment FROM lifecycles WHERE name = 'trial' ORDER BY version")
        assert [row["version"] for row in rows] == list(range(1, len(rows) + 1))
        kept = {row["comment"] for row in rows}
        for task, answer in zip(asked, answers, strict=True):
            if isinstance(answer, httpx.Response) and answer.status_code == 201:
                assert answer.json()["version"] <= len(rows), task
        published = len(rows)
        audited = await live.sql("SELECT reason FROM audit_log WHERE action = 'lifecycle_published'")
        assert len(audited) == len(rows)
        assert {row["reason"] or "" for row in audited} == {comment or "" for comment in kept}

    async def taken_up() -> bool:
        records = await live.records("lifecycles")
        return {record.key.decode() for record in records} >= {f"trial/{n + 1}" for n in range(published)}

    await wait_until(taken_up, "the running engine announces what was committed")


async def test_a_lifecycle_of_a_folder_changes_with_its_file_alone(world: World) -> None:
    engine = await world.running()
    api = await world.running(verb="serve", TOUCHLINE_LIFECYCLES_DIR="", TOUCHLINE_LIFECYCLES="")
    for process in (engine, api):
        answer = await publish(process, numbered(SECOND, 2))
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/managed-by-file"), answer.text
        assert (await call(process, "DELETE", "/v1/lifecycles/trial")).status_code == 409
    assert (await world.get("/v1/lifecycles/trial"))["managed_by"] == "file"
    file = world.folder / "second.yaml"
    file.write_text(numbered(SECOND, 2))
    refused = world.command("publish", str(file))
    assert (refused.returncode, "managed by file" in refused.stderr) == (1, True), refused.stderr
    assert await world.sql("SELECT FROM audit_log") == []


async def test_a_built_in_lifecycle_is_changed_and_reset(live: World) -> None:
    engine = await live.running()
    path = "/v1/lifecycles/reach-to-loyalty"
    text = (await live.get(path))["definition"]
    answer = await call(
        engine, "POST", f"{path}/versions", json={"definition": text + "\n# ours\npassive: [visited]\n"}
    )
    assert (answer.status_code, answer.json()["version"]) == (201, 2), answer.text
    changed = await live.get(path)
    assert (changed["version"], changed["managed_by"]) == (2, "api")
    assert changed["definition"].endswith("# ours\npassive: [visited]\n")
    again = await live.running()
    assert (await live.get(path, again))["version"] == 2
    # A reason that PostgreSQL does not store is refused before anything changes.
    unstorable = await call(engine, "DELETE", path, params={"reason": "tried\x00it"})
    assert (unstorable.status_code, "reason" in unstorable.text) == (422, True), unstorable.text
    gone = await call(engine, "DELETE", path, params={"reason": "tried it"})
    assert gone.json() == {"withdrawn": [2]}
    assert (await live.get(path))["version"] == 1

    async def tombstone() -> bool:
        return any(
            record.key == b"reach-to-loyalty/2" and record.value is None for record in await live.records("lifecycles")
        )

    await wait_until(tombstone, "the version's tombstone is published")


async def test_editors_publish_and_viewers_do_not(live: World) -> None:
    tokens = live.folder / "tokens.yaml"
    hashes = {role: hashlib.sha256(role.encode()).hexdigest() for role in ("viewer", "editor", "operator")}
    entries = [f"  - {{name: {role}-ann, role: {role}, token_sha256: {digest}}}" for role, digest in hashes.items()]
    tokens.write_text("\n".join(["tokens:", *entries]))
    engine = live.start(TOUCHLINE_TOKENS_FILE=str(tokens))
    await engine.ready()
    body = {"definition": LIFECYCLE}
    for path in (PATH, "/v1/lifecycles/check", "/v1/lifecycles/reach-to-loyalty/differences"):
        assert (await call(engine, "POST", path, "viewer", json=body)).status_code == 403, path
        assert (await call(engine, "POST", path, "", json=body)).status_code == 401, path
    published = await call(engine, "POST", PATH, "editor", json=body | {"comment": "mine"})
    assert published.status_code == 201
    (entry,) = (await call(engine, "GET", "/v1/audit", "viewer")).json()["items"]
    assert (entry["actor"], entry["role"], entry["reason"]) == ("editor-ann", "editor", "mine")
    assert entry["request_id"] == published.headers["x-request-id"]
    exported = await call(engine, "GET", "/v1/audit?format=csv", "viewer")
    assert exported.text.splitlines()[1].split(",")[2:5] == ["editor-ann", "editor", "lifecycle_published"]
    for statement in ("UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"):
        with pytest.raises(Exception, match="append-only"):
            await live.sql(statement)


async def test_the_check_reports_every_error_at_its_line_and_draws_what_is_right(live: World) -> None:
    engine = await live.running(verb="serve")
    good = (await call(engine, "POST", "/v1/lifecycles/check", json={"definition": LIFECYCLE})).json()
    assert (good["ok"], good["errors"]) == (True, [])
    assert good["diagram"].startswith("stateDiagram-v2")
    wrong = LIFECYCLE.replace("after: 14d", "after: 14").replace("to: buy}", "to: nowhere}")
    bad = (await call(engine, "POST", "/v1/lifecycles/check", json={"definition": wrong})).json()
    assert bad["ok"] is False
    lines = wrong.splitlines()
    assert [("14" in lines[error["line"] - 1], error["path"]) for error in bad["errors"]] == [
        (True, "stages[0].stall.after")
    ]
    refused = await call(engine, "POST", PATH, json={"definition": wrong})
    assert (refused.status_code, refused.json()["errors"]) == (422, bad["errors"])


async def test_the_command_lines_publish_and_compare(live: World) -> None:
    engine = await live.running()
    file = live.folder / "draft.yaml"
    file.write_text(LIFECYCLE)
    assert live.command("diff", str(file)).returncode == 1
    first = live.command("publish", str(file), "--comment", "first")
    assert first.returncode == 0, first.stderr
    assert live.command("diff", str(file)).returncode == 0
    url = f"http://127.0.0.1:{engine.port}"
    file.write_text(numbered(SECOND, 2))
    for more in ([], ["--url", url]):
        compared = live.command("diff", str(file), *more)
        assert compared.returncode == 1, compared.stderr
        assert "+  - name: try" not in compared.stdout
        assert "stages.try: lapse: to reach after 40d → to reach after 50d" in compared.stdout
    second = live.command("publish", str(file), "--url", url, "--on-change", "refold")
    assert second.returncode == 0, second.stderr
    same = live.command("publish", str(file), "--url", url, "--on-change", "refold")
    assert (same.returncode, "already in force" in same.stderr) == (0, True), same.stderr
    file.write_text(numbered(THIRD, 2))
    for more in ([], ["--url", url]):
        late = live.command("publish", str(file), *more)
        assert (late.returncode, "version 2 of trial is in force" in late.stderr) == (1, True), late.stderr
    file.write_text("lifecycle: trial\nversion: 3\n")
    wrong = live.command("publish", str(file))
    assert (wrong.returncode, "stages" in wrong.stderr) == (2, True), wrong.stderr
    entries = (await live.get("/v1/audit"))["items"]
    assert [entry["actor"].endswith("(command line)") for entry in entries] == [False, True]
