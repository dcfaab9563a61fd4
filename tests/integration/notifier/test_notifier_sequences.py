"""Sequences on real Kafka and PostgreSQL: what a run does, who is where, merges, erasure, results."""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from pydantic import SecretStr
from touchline_devstack.receivers import WebhookReceiver
from touchline_notifier import bootstrap
from touchline_notifier.adapters.postgres.reads.queries import PostgresQueries
from touchline_notifier.adapters.postgres.retention import PostgresFinishedRows
from touchline_notifier.adapters.postgres.transaction import PostgresTransaction
from touchline_notifier.application.deciding.decide import DecisionContext, apply_events, decide_due
from touchline_notifier.application.deciding.fold_touchpoints import fold_touchpoints
from touchline_notifier.core.decisions.decide import Decider
from touchline_notifier.core.decisions.stage_events import StageEvent, fact_of
from touchline_notifier.core.limits.limits import Circumstances
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.plays.rendering import Templates
from touchline_notifier.core.profiles.address_hashes import Hashes
from touchline_schemas.events.facts import CustomerErased, CustomerMerged, Reason, StageChanged
from touchline_schemas.ids import fact_id

from tests.support.notifier.builders import a_touchpoint
from tests.support.notifier.sequences import a_message, a_sequence
from tests.support.notifier.world import SECRET, World
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

WELCOME = """
play: welcome
when: {fact: stage-changed, lifecycle: service-cycle, stage: [acquisition]}
steps:
  - send: {channel: webhook, endpoint: crm, subject: "Welcome {{ customer_id }}"}
  - title: Wait for the demo
    wait_until: {touchpoint: demo_booked, where: {properties.seats: {gte: 2}}, within: 30d}
  - branch:
      on: happened
      then: [{send: {channel: webhook, endpoint: crm, subject: "See you {{ customer_id }}"}}]
  - wait: 30d
  - send: {channel: webhook, endpoint: crm, subject: "Last {{ customer_id }}"}
goal: {when: [purchased], within: 60d}
"""


async def test_people_walk_through_a_sequence_and_the_api_says_where_they_are(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        world.crm(receiver)
        world.play(WELCOME)
        process = await world.start().ready()
        for customer in ("c-1", "c-2", "c-3", "c-4"):
            await world.touchpoint(customer)
            await world.moved(customer, "acquisition")
        await world.await_actions(4, "sent")
        pool = await world.database()

        async def at(step: str, people: int) -> bool:
            there = "SELECT count(*) FROM sequence_runs WHERE step = $1 AND ended_at IS NULL"
            return int(await pool.fetchval(there, step)) == people

        await wait_until(lambda: at("2", 4))
        await world.touchpoint("c-1", "demo_booked", properties={"seats": 3})
        await world.touchpoint("c-2", "demo_booked", properties={"seats": 1})
        await world.moved("c-3", "nurture", before="acquisition")
        await world.touchpoint("c-4", "purchased")
        await wait_until(lambda: at("4", 1))
        await wait_until(lambda: at("2", 1))
        assert sorted(one.json["data"]["subject"] for one in receiver.arrived) == [
            "See you c-1", "Welcome c-1", "Welcome c-2", "Welcome c-3", "Welcome c-4",
        ]  # fmt: skip

        async with httpx.AsyncClient(base_url=process.url) as client:
            figures = (await client.get("/v1/plays/welcome/steps")).json()
            steps = {one["step"]: one for one in figures["steps"]}
            assert list(steps) == ["1", "2", "3", "3.then.1", "4", "5"]
            assert (steps["1"]["entered"], steps["1"]["here"], steps["1"]["left"]) == (4, 0, {"sent": 4})
            assert (steps["2"]["entered"], steps["2"]["here"]) == (4, 1)
            assert steps["2"]["left"] == {"happened": 1, "moved_on": 1, "converted": 1}
            assert steps["2"]["title"] == "Wait for the demo"
            assert (steps["4"]["here"], steps["5"]["entered"]) == (1, 0)
            assert figures["runs"] == {"running": 2, "moved_on": 1, "converted": 1}
            there = (await client.get("/v1/plays/welcome/runs", params={"step": "2", "state": "running"})).json()
            assert [one["customer_id"] for one in there["items"]] == ["c-2"]
            first = (await client.get("/v1/plays/welcome/runs", params={"limit": 3})).json()
            rest = (await client.get("/v1/plays/welcome/runs", params={"cursor": first["next"]})).json()
            listed = [one["customer_id"] for one in (*first["items"], *rest["items"])]
            assert sorted(listed) == ["c-1", "c-2", "c-3", "c-4"]
            assert (await client.get("/v1/plays/welcome/runs", params={"cursor": "x"})).status_code == 400
            assert (await client.get("/v1/plays/welcome/runs", params={"step": "\x00"})).status_code == 422
            assert (await client.get("/v1/plays/nothing/steps")).status_code == 404
            (run,) = (await client.get("/v1/profiles/c-1")).json()["sequences"]
            assert (run["play"], run["step"], run["step_text"], run["ended"]) == ("welcome", "4", "Wait 30d", None)
            assert [one["step"] for one in run["path"]] == ["1", "2", "3", "3.then.1", "4"]
            exported = (await client.get("/v1/profiles/c-3/export", params={"format": "json"})).json()
            assert exported["sequences"][0]["ended"] == "moved_on"
            page = (await client.get("/v1/profiles/c-1/export", params={"format": "html"})).text
            assert "Wait for the demo" in page
            metrics = (await client.get("/metrics")).text
            assert 'touchline_notifier_sequence_runs{play="welcome"} 2.0' in metrics
            (action,) = (await client.get("/v1/actions", params={"customer_id": "c-2"})).json()["items"]
            assert action["step"] == "1"
        published = [one for one in await world.actions("decided") if one["customer_id"] == "c-1"]
        assert [one["step"] for one in published] == ["1", "3.then.1"]
        assert len({one["run_id"] for one in published}) == 1


NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)


class Database:
    """The notifier's transactions on a real database, at times that the test says."""

    def __init__(self, pool: asyncpg.Pool, *plays: Play) -> None:
        self.pool = pool
        self.put_in_force(*plays)

    def put_in_force(self, *plays: Play) -> None:
        decider = Decider({play.play: play for play in plays}, Templates())
        self.context = DecisionContext(decider, {}, 1, frozenset({"email"}))

    async def take(self, *events: StageEvent, at: datetime = NOW) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            tx = PostgresTransaction(connection, Hashes("key"), 1)
            await apply_events(tx, events, self.context, 0, Circumstances(at))

    async def touchpoint(self, customer: str, kind: str, at: datetime) -> None:
        touchpoint = a_touchpoint(kind, at, f"{customer}-{kind}", customer_id=customer)
        async with self.pool.acquire() as connection, connection.transaction():
            tx = PostgresTransaction(connection, Hashes("key"), 1)
            await fold_touchpoints(tx, [touchpoint], self.context.decider.plays, at)

    async def delivered(self, at: datetime) -> None:
        await self.pool.execute("UPDATE actions SET outcome = 'sent', finished_at = $1 WHERE outcome = 'decided'", at)

    async def due(self, at: datetime) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            tx = PostgresTransaction(connection, Hashes("key"), 1)
            due = await tx.actions.due(0, at, 100, sending=True)
            await decide_due(tx, due, self.context, 0, Circumstances(at))

    async def runs(self) -> list[tuple[Any, ...]]:
        rows = await self.pool.fetch("SELECT customer_id, step, end_code FROM sequence_runs ORDER BY started_at")
        return [tuple(row) for row in rows]


async def a_database(world: World, *plays: Play) -> Database:
    settings = world.settings.model_copy(update={"database_url": SecretStr(world.database_url)})
    await bootstrap.migrate(settings)
    return Database(await world.database(), *plays)


def a_move(customer: str, number: int, *, at: datetime = NOW, to: str = "reach", kind: str = "rule") -> StageEvent:
    event = StageChanged(
        customer_id=customer, lifecycle="service-cycle", lifecycle_version=1, fact_no=number, occurred_at=at,
        decided_at=at, backfill=False, from_stage=None, to_stage=to, move="enter", sequence=number,
        reason=Reason.model_validate({"kind": kind, "text": "a test"}), previous_stage_seconds=None,
    )  # fmt: skip
    ident = str(fact_id(customer, "service-cycle", 0, number))
    return StageEvent("touchline.stage-changed", fact_of(ident, event), ident, event.model_dump(mode="json"))


def a_merge(old: str, into: str, at: datetime) -> StageEvent:
    event = CustomerMerged(customer_id=old, into=into, fact_no=1, occurred_at=at, decided_at=at)
    return StageEvent("touchline.customer-merged", event, f"{old}-{into}", event.model_dump(mode="json"))


ONBOARDING = a_sequence(
    a_message("Welcome"), {"wait": "3h"}, a_message("Nudge"),
    {"wait_until": {"touchpoint": ["demo_booked"], "within": "5h"}}, a_message("Last"),
)  # fmt: skip


async def test_after_a_merge_one_run_goes_on_and_does_each_step_once(world: World) -> None:
    database = await a_database(world, ONBOARDING)
    await database.take(a_move("anon:1", 1))
    await database.delivered(NOW)
    await database.take(a_move("c-1", 1, at=NOW + HOUR), at=NOW + HOUR)
    await database.delivered(NOW + HOUR)
    await database.take(a_merge("anon:1", "c-1", NOW + 2 * HOUR), at=NOW + 2 * HOUR)
    await database.due(NOW + 2 * HOUR)
    assert await database.runs() == [("c-1", "2", None), ("c-1", "1", "merged")]
    # What comes under the old key is the customer's.
    for hours in (4, 4.01):
        await database.due(NOW + hours * HOUR)
    await database.delivered(NOW + 4.02 * HOUR)
    await database.due(NOW + 4.1 * HOUR)
    await database.touchpoint("anon:1", "demo_booked", NOW + 5 * HOUR)
    await database.due(NOW + 5 * HOUR)
    await database.delivered(NOW + 5 * HOUR)
    await database.due(NOW + 6 * HOUR)
    assert await database.runs() == [("c-1", "5", "completed"), ("c-1", "1", "merged")]
    rows = await database.pool.fetch("SELECT step, count(*) FROM actions GROUP BY step ORDER BY step")
    assert [tuple(row) for row in rows] == [("1", 2), ("3", 1), ("5", 1)]


async def test_a_run_of_a_merged_key_ends_when_the_customer_is_in_another_stage(world: World) -> None:
    database = await a_database(world, ONBOARDING)
    await database.take(a_move("c-1", 1, to="retention"), a_move("anon:1", 1))
    await database.take(a_merge("anon:1", "c-1", NOW + HOUR), at=NOW + HOUR)
    await database.due(NOW + HOUR)
    assert await database.runs() == [("c-1", "1", "moved_on")]


async def test_a_message_that_waits_goes_on_with_the_run_through_a_merge(world: World) -> None:
    quiet = ONBOARDING.model_copy(update={"limits": Play.model_validate(_capped()).limits})
    database = await a_database(world, quiet)
    await database.take(a_move("anon:1", 1))
    await database.delivered(NOW)
    await database.due(NOW + 3.1 * HOUR)
    waiting = await database.pool.fetch("SELECT customer_id, outcome, reason_code FROM actions WHERE step = '3'")
    assert [tuple(row) for row in waiting] == [("anon:1", "held", "capped_play")]
    await database.take(a_merge("anon:1", "c-1", NOW + 4 * HOUR), at=NOW + 4 * HOUR)
    await database.due(NOW + 11 * HOUR)
    after = await database.pool.fetch("SELECT customer_id, outcome, reason_code FROM actions WHERE step = '3'")
    assert [tuple(row) for row in after] == [("c-1", "decided", None)]


def _capped() -> dict[str, Any]:
    return {
        "play": "x", "when": {"fact": "stage-changed"}, "action": {"channel": "webhook", "body": "x"},
        "limits": {"per_play": {"count": 1, "within": "10h"}},
    }  # fmt: skip


async def test_an_erasure_leaves_nothing_of_a_run(world: World) -> None:
    database = await a_database(world, ONBOARDING)
    await database.take(a_move("c-1", 1))
    await database.touchpoint("c-1", "demo_booked", NOW + HOUR)
    assert await database.pool.fetchval("SELECT count(*) FROM sequence_hits") == 1
    erased = CustomerErased(customer_id="c-1", occurred_at=NOW + HOUR, decided_at=NOW + HOUR, incarnation=0)
    await database.take(StageEvent("touchline.customer-erased", erased, "e-1", erased.model_dump(mode="json")))
    for table in ("sequence_runs", "sequence_visits", "sequence_hits", "actions", "deliveries"):
        assert await database.pool.fetchval(f"SELECT count(*) FROM {table}") == 0, table


async def test_a_fact_that_is_read_twice_begins_one_run(world: World) -> None:
    database = await a_database(world, ONBOARDING)
    await database.take(a_move("c-1", 1))
    await database.take(a_move("c-1", 1), at=NOW + HOUR)
    assert await database.pool.fetchval("SELECT count(*) FROM sequence_runs") == 1
    assert await database.pool.fetchval("SELECT count(*) FROM actions") == 1


async def test_a_run_goes_on_under_the_version_that_it_began_under(world: World) -> None:
    database = await a_database(world, ONBOARDING)
    await database.take(a_move("c-1", 1))
    await database.delivered(NOW)
    database.put_in_force(a_sequence(a_message("Other"), a_message("Another")))
    await database.due(NOW + 0.1 * HOUR)
    await database.due(NOW + 4 * HOUR)
    rows = await database.pool.fetch("SELECT message -> 'subject' AS subject FROM deliveries ORDER BY created_at")
    assert [row["subject"] for row in rows] == ['"Welcome"', '"Nudge"']


async def test_results_compare_the_groups_from_the_beginning_of_their_runs_on(world: World) -> None:
    play = a_sequence({"wait": "1h"}, a_message("Welcome"), exit=False, hold_out=0.5)
    database = await a_database(world, play)
    await database.take(*(a_move(f"c-{number}", 1) for number in range(40)))
    for number in range(20):
        await database.touchpoint(f"c-{number}", "purchased", NOW + HOUR)
    groups = await PostgresQueries(database.pool).results("onboarding", timedelta(days=30), None)
    treated, held_out = groups["converted"]["treated"], groups["converted"]["held_out"]
    assert treated.size + held_out.size == 40
    assert min(treated.size, held_out.size) > 5
    assert treated.did + held_out.did == 20
    assert await database.pool.fetchval("SELECT count(*) FROM actions WHERE outcome = 'held_out'") == held_out.size


async def test_old_runs_are_deleted_and_those_that_go_on_are_kept(world: World) -> None:
    database = await a_database(world, ONBOARDING)
    await database.take(a_move("c-1", 1), a_move("c-2", 1))
    await database.take(a_move("c-2", 2, at=NOW + HOUR, to="retention"), at=NOW + HOUR)
    rows = PostgresFinishedRows(database.pool)
    assert await rows.delete_runs(NOW, 100) == 0
    assert await rows.delete_runs(NOW + 2 * HOUR, 100) == 1
    assert await database.runs() == [("c-1", "1", None)]
