"""Plays published while notifiers run: every worker decides by them, and each fact is decided by one version."""

import asyncio
import re
from collections.abc import Iterator
from functools import partial

import pytest
from touchline_devstack.receivers import WebhookReceiver
from touchline_schemas.partitions import partition_of

from tests.support.notifier.checks import check, everything_sent
from tests.support.notifier.published_plays import PATH, call, publish, text
from tests.support.notifier.world import PARTITIONS, SECRET, World
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack


@pytest.fixture
def receiver(world: World) -> Iterator[WebhookReceiver]:
    """The company's system, named crm."""
    with WebhookReceiver([SECRET]) as opened:
        world.crm(opened)
        yield opened


def drafts(receiver: WebhookReceiver) -> dict[str, int]:
    """Fact → the draft that its message was decided by."""
    found = {}
    for one in receiver.arrived:
        data = one.json["data"]
        found[data["fact_id"]] = int(data["body"].split()[1])
    return found


def is_used(receiver: WebhookReceiver, draft: int) -> bool:
    return draft in drafts(receiver).values()


def more_arrived(receiver: WebhookReceiver, than: int) -> bool:
    return len(receiver.arrived) > than


async def test_two_workers_under_load_decide_each_fact_by_one_version_and_none_by_an_older_one(
    world: World, receiver: WebhookReceiver
) -> None:
    workers = [await world.start().ready(), await world.start().ready()]
    assert (await publish(workers[0], text(1))).json() == {"version": 1, "changed": True}
    facts: list[str] = []
    customers: dict[str, str] = {}
    at_least: dict[str, int] = {}
    in_force = 1
    posting = True

    async def load() -> None:
        while posting or len(facts) < 200:
            if len(facts) > len(receiver.arrived) + 60:
                # A backlog, but none that grows until the newest version is used only minutes later.
                await asyncio.sleep(0.02)
                continue
            customer = f"c-{len(facts)}"
            newest = in_force
            fact = await world.stalled(customer)
            facts.append(fact)
            customers[fact], at_least[fact] = customer, newest
            if len(facts) % 10 == 0:
                await asyncio.sleep(0.02)

    loading = asyncio.create_task(load())
    for number in range(2, 8):
        await wait_until(partial(more_arrived, receiver, len(receiver.arrived) + 10), "the load is delivered")
        await wait_until(partial(is_used, receiver, number - 1), "facts are decided by the newest version")
        answer = await publish(workers[number % 2], text(number), number - 1, comment=f"draft {number}")
        assert (answer.status_code, answer.json()["version"]) == (201, number), answer.text
        in_force = number
    posting = False
    await loading
    events = await everything_sent(world, facts)
    check(events, facts, receiver)
    by_fact = drafts(receiver)
    assert all(by_fact[fact] >= newest for fact, newest in at_least.items()), "decided by what was published before"
    for partition in range(PARTITIONS):
        decided = [
            by_fact[one["fact_id"]]
            for one in events
            if one["outcome"] == "decided" and partition_of(customers[one["fact_id"]], PARTITIONS) == partition
        ]
        assert decided == sorted(decided), "no partition returns to an older version"
    assert set(by_fact.values()) >= set(range(1, 7))
    rows = await (await world.database()).fetch("SELECT fact_id, play_version FROM actions")
    assert {str(row["fact_id"]): row["play_version"] for row in rows} == by_fact, "an action has the version it is of"
    assert all(process.popen.poll() is None for process in workers), "no process was restarted"
    assert [one["version"] for one in (await call(workers[1], "GET", f"{PATH}/versions")).json()["items"]] == [
        7, 6, 5, 4, 3, 2, 1,
    ]  # fmt: skip


async def test_going_back_is_publishing_again_and_a_restart_keeps_what_was_published(
    world: World, receiver: WebhookReceiver
) -> None:
    process = await world.start().ready()
    await publish(process, text(1), comment="first")
    await publish(process, text(2), 1)
    earlier = (await call(process, "GET", f"{PATH}/versions/1")).json()
    assert (earlier["definition"], earlier["comment"], earlier["in_force"]) == (text(1), "first", False)
    back = await publish(process, earlier["definition"], 2, comment="as it was")
    assert back.json() == {"version": 3, "changed": True}
    process.stop()
    process = await world.start().ready()
    await world.stalled("c-1")
    await world.await_actions(1, "sent")
    assert list(drafts(receiver).values()) == [1]
    (action,) = (await call(process, "GET", "/v1/actions")).json()["items"]
    assert (await call(process, "GET", f"/v1/actions/{action['action_id']}")).json()["play_version"] == 3
    assert action["play_version"] == 3
    shown = (await call(process, "GET", PATH)).json()
    assert (shown["version"], shown["managed_by"], shown["text"]) == (3, "api", text(1))
    (listed,) = (await call(process, "GET", "/v1/plays")).json()["items"]
    assert (listed["version"], listed["enabled"], listed["switched_on"]) == (3, True, True)
    page = (await call(process, "GET", f"{PATH}/versions?limit=2")).json()
    rest = (await call(process, "GET", f"{PATH}/versions?limit=2&cursor={page['next']}")).json()
    assert [(one["version"], one["in_force"]) for one in (*page["items"], *rest["items"])] == [
        (3, True), (2, False), (1, False),
    ]  # fmt: skip
    assert rest["next"] is None


async def test_a_play_is_switched_off_and_on_on_every_worker_whatever_its_version(
    world: World, receiver: WebhookReceiver
) -> None:
    one, two = await world.start().ready(), await world.start().ready()
    assert (await call(one, "PUT", f"{PATH}/switch", json={"enabled": False})).status_code == 404
    await publish(one, text(1, "delay: 1h\n"))
    for number in range(6):
        await world.stalled(f"waits-{number}")
    await world.await_actions(6, "held")
    off = await call(two, "PUT", f"{PATH}/switch", json={"enabled": False, "reason": "a wrong price"})
    assert off.json() == {"play": "win-back", "enabled": False}
    await publish(one, text(2), 1)
    pool = await world.database()
    await pool.execute("UPDATE actions SET decide_at = now() WHERE decide_at IS NOT NULL")
    for number in range(6):
        await world.stalled(f"off-{number}")
    await world.settled()
    cancelled = await world.await_actions(6, "cancelled")
    assert {action["reason"].split(":")[0] for action in cancelled} == {"play_gone"}
    shown = (await call(two, "GET", PATH)).json()
    assert (shown["enabled"], shown["switched_on"], shown["version"]) == (False, False, 2)
    assert (await call(one, "PUT", f"{PATH}/switch", json={"enabled": True})).json()["enabled"] is True
    for number in range(6):
        await world.stalled(f"on-{number}")
    sent = await world.await_actions(6, "sent")
    assert {action["customer_id"] for action in sent} == {f"on-{number}" for number in range(6)}
    assert set(drafts(receiver).values()) == {2}
    entries = (await call(one, "GET", "/v1/audit")).json()["items"]
    assert [(entry["action"], entry["reason"]) for entry in reversed(entries)] == [
        ("play_published", None), ("play_switched_off", "a wrong price"), ("play_published", None),
        ("play_switched_on", None),
    ]  # fmt: skip


async def test_a_withdrawn_play_acts_no_more_and_what_is_decided_and_not_sent_is_cancelled(
    world: World, receiver: WebhookReceiver
) -> None:
    process = await world.start().ready()
    await publish(process, text(1))
    assert (await call(process, "PUT", "/v1/sending", json={"sending": False})).status_code == 200
    await world.stalled("c-1")
    await world.await_actions(1, "held")
    gone = await call(process, "DELETE", PATH, params={"reason": "tried it"})
    assert gone.json() == {"withdrawn": 1}
    assert (await call(process, "DELETE", PATH)).status_code == 404
    await call(process, "PUT", "/v1/sending", json={"sending": True})
    (cancelled,) = await world.await_actions(1, "cancelled")
    assert cancelled["reason"].startswith("play_gone")
    assert (await call(process, "GET", PATH)).status_code == 404
    refused = await publish(process, text(2), 1)
    assert (refused.status_code, refused.json()["in_force"]) == (409, None)
    assert (await publish(process, text(2), 0)).json()["version"] == 2
    await world.stalled("c-2")
    await world.await_actions(1, "sent")
    assert list(drafts(receiver).values()) == [2]


async def test_a_shipped_play_is_replaced_by_what_is_published_and_returns_to_the_shipped_text(
    world: World, receiver: WebhookReceiver
) -> None:
    world.environment["TOUCHLINE_PLAYS"] = "service-call-regressed"
    process = await world.start().ready()
    path = "/v1/plays/service-call-regressed"
    shipped = (await call(process, "GET", path)).json()
    assert (shipped["managed_by"], shipped["version"]) == ("api", None)
    changed = re.sub("^title: .*$", "title: Ours", shipped["text"], flags=re.MULTILINE)
    answer = await call(process, "PUT", path, json={"definition": changed, "base": 0})
    assert answer.status_code == 201, answer.text
    shown = (await call(process, "GET", path)).json()
    assert (shown["title"], shown["version"]) == ("Ours", 1)
    another = await world.start().ready()
    assert (await call(another, "GET", path)).json()["title"] == "Ours"
    await call(process, "DELETE", path)
    assert (await call(process, "GET", path)).json()["text"] == shipped["text"]

    async def returned() -> bool:
        return bool((await call(another, "GET", path)).json()["text"] == shipped["text"])

    await wait_until(returned)


async def test_a_play_of_a_folder_changes_with_its_file_alone(world: World, receiver: WebhookReceiver) -> None:
    world.play(text(1))
    process = await world.start().ready()
    other = await world.start("serve", TOUCHLINE_PLAYS_DIR="").ready()
    for asked in (process, other):
        for answer in (
            await publish(asked, text(2)),
            await publish(asked, text(2), 1),
            await call(asked, "PUT", f"{PATH}/switch", json={"enabled": False}),
            await call(asked, "DELETE", PATH),
        ):
            assert (answer.status_code, answer.json()["type"]) == (409, "/problems/managed-by-file"), answer.text
    shown = (await call(process, "GET", PATH)).json()
    assert (shown["managed_by"], shown["version"], shown["text"]) == ("file", None, text(1))
    assert (await call(process, "GET", f"{PATH}/versions")).json() == {"items": [], "next": None}
    assert (await call(process, "GET", "/v1/audit")).json()["items"] == []
    # Without the file it can be published.
    process.stop()
    (world.folder / "plays" / "play.yaml").unlink()
    process = await world.start().ready()
    assert (await publish(process, text(2))).status_code == 201


async def test_a_worker_that_lacks_an_endpoint_decides_nothing_until_the_play_can_run(
    world: World, receiver: WebhookReceiver
) -> None:
    behind = await world.start().ready()
    world.endpoints(
        f"endpoints:\n  - {{name: crm, url: '{receiver.url}', secret: {{env: CRM_SECRET}}}}\n"
        f"  - {{name: erp, url: '{receiver.url}', secret: {{env: CRM_SECRET}}}}\n"
    )
    api = await world.start("serve").ready()
    assert (await publish(api, text(1).replace("crm", "erp"))).status_code == 201
    await world.stalled("c-1")

    async def says_so() -> bool:
        answer = await call(behind, "GET", "/readyz")
        return answer.status_code == 503 and "there is no endpoint 'erp'" in answer.text

    await wait_until(says_so, seconds=90)
    assert await world.actions() == []
    # It needs no restart once the play fits, and the API of the same process publishes it.
    assert (await publish(behind, text(2), 1)).status_code == 201
    await world.await_actions(1, "sent")
    assert list(drafts(receiver).values()) == [2]
    await behind.ready()
