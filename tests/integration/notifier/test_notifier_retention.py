"""Old actions and deliveries are deleted when settings say so, and nothing that is still needed with them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from touchline_devstack.receivers import WebhookReceiver
from touchline_notifier.adapters.postgres.retention import PostgresFinishedRows
from touchline_notifier.application.retention import Retention
from touchline_notifier.bootstrap import migrate
from touchline_notifier.core.plays.parse import read_plays
from touchline_notifier.core.plays.play import Play
from touchline_notifier.settings import NotifierSettings
from touchline_runtime.database.retention import AT_ONCE

from tests.support.notifier.world import SECRET, World
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

NOW = datetime(2026, 6, 1, tzinfo=UTC)
MANY = 2 * AT_ONCE + 500
PLAY = """
play: calls
when: {fact: customer-stalled, lifecycle: service-cycle}
action: {channel: webhook, endpoint: crm, body: "{{ customer_id }}"}
"""

ACTION = """
INSERT INTO actions (action_id, partition, play, fact_id, fact_type, fact, customer_id, lifecycle, channel, outcome,
                     fact_at, decided_at, decide_at, finished_at)
SELECT gen_random_uuid(), 0, $1 || number, $1 || number, 'customer-stalled', '{}', $1 || number, 'l', 'webhook', $2,
       $3, $3, $4, $5
FROM generate_series(1, $6::int) AS number
"""
DELIVERY = """
INSERT INTO deliveries (id, partition, kind, action_id, fact_id, customer_id, channel, endpoint, message, status,
                        next_attempt_at, created_at, finished_at)
SELECT gen_random_uuid(), 0, 'action', action_id, fact_id, customer_id, channel, 'crm', '{}', $2, $3, $3, $4
FROM actions WHERE play LIKE $1 || '%'
"""


@pytest.fixture
async def pool(database_url: str, topic_prefix: str) -> AsyncIterator[asyncpg.Pool]:
    """The notifier's tables, with finished and unfinished work of 100 days and of 10 days ago."""
    settings = NotifierSettings(database_url=database_url, topic_prefix=topic_prefix)
    await migrate(settings)
    async with asyncpg.create_pool(
        database_url, min_size=1, max_size=2, server_settings={"search_path": settings.search_path}
    ) as pool:
        for age, days in (("old", 100), ("young", 10)):
            at = NOW - timedelta(days=days)
            for name, outcome, decide_at, finished_at, number in (
                ("sent", "sent", None, at, MANY if age == "old" else 5),
                ("held", "held", None, None, 5),
                ("waiting", "held", NOW + timedelta(days=1), None, 5),
                ("under-way", "decided", None, None, 5),
            ):
                await pool.execute(ACTION, f"{age}-{name}-", outcome, at, decide_at, finished_at, number)
            await pool.execute(DELIVERY, f"{age}-sent-", "sent", at, at)
            await pool.execute(DELIVERY, f"{age}-under-way-", "pending", at, None)
        yield pool


async def left(pool: asyncpg.Pool, table: str, column: str) -> dict[str, int]:
    """Name of a group of rows → how many there are."""
    rows = await pool.fetch(
        f"SELECT regexp_replace({column}, '-[0-9]+$', '') AS name, count(*) AS rows FROM {table} GROUP BY 1"
    )
    return {row["name"]: row["rows"] for row in rows}


def retention(pool: asyncpg.Pool, plays: Mapping[str, Play], deliveries: int | None, actions: int | None) -> Retention:
    return Retention(PostgresFinishedRows(pool), plays, deliveries, actions)


ALL_ACTIONS = {
    "old-sent": MANY, "old-held": 5, "old-waiting": 5, "old-under-way": 5,
    "young-sent": 5, "young-held": 5, "young-waiting": 5, "young-under-way": 5,
}  # fmt: skip


async def test_by_default_everything_is_kept(pool: asyncpg.Pool) -> None:
    await retention(pool, {}, None, None).delete_old(NOW, asyncio.Event())
    assert await left(pool, "actions", "play") == ALL_ACTIONS


async def test_old_deliveries_go_and_their_actions_stay(pool: asyncpg.Pool) -> None:
    await retention(pool, {}, 30, None).delete_old(NOW, asyncio.Event())
    assert await left(pool, "deliveries", "customer_id") == {"old-under-way": 5, "young-sent": 5, "young-under-way": 5}
    assert await left(pool, "actions", "play") == ALL_ACTIONS


async def test_old_actions_go_unless_they_wait_or_are_being_delivered(pool: asyncpg.Pool) -> None:
    await retention(pool, {}, None, 30).delete_old(NOW, asyncio.Event())
    kept = {name: rows for name, rows in ALL_ACTIONS.items() if name not in ("old-sent", "old-held")}
    assert await left(pool, "actions", "play") == kept
    assert await left(pool, "deliveries", "customer_id") == {"old-under-way": 5, "young-sent": 5, "young-under-way": 5}


@pytest.mark.parametrize(
    "looks_back",
    [
        "limits: {per_play: {count: 1, within: 120d}}",
        "limits: {per_customer: {count: 3, within: 120d}}",
        "limits: {cool_down: 120d}",
        "limits: {max_age: 120d}",
        "goal: {when: [purchased], within: 120d}",
    ],
)
async def test_actions_that_a_play_looks_back_to_are_kept(pool: asyncpg.Pool, looks_back: str) -> None:
    parsed = read_plays([("calls.yaml", PLAY + looks_back)])
    assert not parsed.faults
    await retention(pool, parsed.plays, None, 30).delete_old(NOW, asyncio.Event())
    assert await left(pool, "actions", "play") == ALL_ACTIONS


async def test_it_stops_between_two_pieces(pool: asyncpg.Pool) -> None:
    stopping = asyncio.Event()
    stopping.set()
    await retention(pool, {}, 30, 30).delete_old(NOW, stopping)
    assert await left(pool, "actions", "play") == ALL_ACTIONS


async def test_a_running_notifier_deletes_by_its_settings(world: World) -> None:
    with WebhookReceiver([SECRET]) as receiver:
        world.crm(receiver)
        world.play(PLAY)
        first = await world.start().ready()
        await world.stalled("c-1")
        await world.await_actions(1, "sent")
        first.stop()
        pool = await world.database()
        long_ago = datetime.now(UTC) - timedelta(days=400)
        await pool.execute("UPDATE deliveries SET created_at = $1, finished_at = $1", long_ago)
        await pool.execute("UPDATE actions SET decided_at = $1, finished_at = $1", long_ago)
        await world.start(TOUCHLINE_ACTIONS_KEPT_DAYS="200", TOUCHLINE_DELIVERIES_KEPT_DAYS="100").ready()

        async def gone() -> bool:
            return not await pool.fetchval("SELECT (SELECT count(*) FROM actions) + (SELECT count(*) FROM deliveries)")

        await wait_until(gone, "both are deleted")
        await world.stalled("c-2")
        await world.await_actions(2, "sent")
