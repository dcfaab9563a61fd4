"""The hold-out is judged by assignment, and an assignment survives a merge."""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr
from touchline_notifier import bootstrap
from touchline_notifier.adapters.postgres.reads.queries import PostgresQueries
from touchline_notifier.adapters.postgres.transaction import PostgresTransaction
from touchline_notifier.application.deciding.decide import DecisionContext, apply_events
from touchline_notifier.core.decisions.decide import Decider
from touchline_notifier.core.decisions.stage_events import StageEvent, fact_of
from touchline_notifier.core.limits.hold_out import is_held_out
from touchline_notifier.core.limits.limits import Circumstances
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.plays.rendering import Templates
from touchline_notifier.core.profiles.address_hashes import Hashes
from touchline_schemas.events.facts import CustomerErased, CustomerMerged, CustomerStalled
from touchline_schemas.ids import fact_id

from tests.support.notifier.world import World

pytestmark = pytest.mark.stack

NOW = datetime.now(UTC)
PLAY: dict[str, Any] = {
    "play": "win-back",
    "when": {"fact": "customer-stalled"},
    "action": {"channel": "webhook", "endpoint": "crm", "body": "Hello"},
}


def a_stall(customer: str, number: int) -> StageEvent:
    since = NOW - timedelta(days=30 + number)
    event = CustomerStalled(
        customer_id=customer, lifecycle="service-cycle", lifecycle_version=1, fact_no=number, occurred_at=NOW,
        decided_at=NOW, backfill=False, stage="retention", level=1, since=since, due_at=NOW,
    )  # fmt: skip
    ident = str(fact_id(customer, "service-cycle", 0, number))
    return StageEvent("touchline.customer-stalled", fact_of(ident, event), ident, event.model_dump(mode="json"))


def a_merge(old: str, into: str) -> StageEvent:
    event = CustomerMerged(customer_id=old, into=into, fact_no=1, occurred_at=NOW, decided_at=NOW)
    return StageEvent("touchline.customer-merged", event, f"{old}-{into}", event.model_dump(mode="json"))


def a_context(share: float) -> DecisionContext:
    play = Play.model_validate({**PLAY, "hold_out": share})
    return DecisionContext(Decider({"win-back": play}, Templates()), {}, 1, frozenset({"email"}))


def a_key(prefix: str, share: float, *, held_out: bool) -> str:
    """A key whose own hash says so."""
    return next(key for n in range(1000) if is_held_out("win-back", key := f"{prefix}{n}", share) is held_out)


@pytest.mark.parametrize("held_out", [True, False])
async def test_nobody_changes_groups_by_a_merge_or_a_raised_share_and_all_who_were_assigned_count(
    world: World, held_out: bool
) -> None:
    settings = world.settings.model_copy(update={"database_url": SecretStr(world.database_url)})
    await bootstrap.migrate(settings)
    pool = await world.database()
    anonymous = a_key("anon:", 0.5, held_out=held_out)
    customer = a_key("c-", 0.5, held_out=not held_out)
    now = Circumstances(NOW)

    async def take(*published: StageEvent, share: float = 0.5) -> None:
        async with pool.acquire() as connection, connection.transaction():
            await apply_events(PostgresTransaction(connection, Hashes("key"), 1), published, a_context(share), 0, now)

    await take(a_stall(anonymous, 1))
    await take(a_merge(anonymous, customer))
    await take(a_stall(customer, 2))
    await take(a_stall(customer, 3), share=0.9 if not held_out else 0.1)
    outcome = "held_out" if held_out else "decided"
    rows = await pool.fetch("SELECT customer_id, outcome, held_out FROM actions")
    assert [tuple(row) for row in rows] == [(customer, outcome, held_out)] * 3
    # What was never delivered counts as well: it was meant for them.
    await pool.execute("UPDATE actions SET outcome = 'failed' WHERE outcome = 'decided'")
    groups = (await PostgresQueries(pool).results("win-back", timedelta(days=30), None))["returned"]
    assert (groups["treated"].size, groups["held_out"].size) == ((0, 1) if held_out else (1, 0))


async def test_an_assignment_is_forgotten_with_the_customer(world: World) -> None:
    settings = world.settings.model_copy(update={"database_url": SecretStr(world.database_url)})
    await bootstrap.migrate(settings)
    pool: asyncpg.Pool = await world.database()
    async with pool.acquire() as connection, connection.transaction():
        await apply_events(
            PostgresTransaction(connection, Hashes("key"), 1),
            [a_stall("c-1", 1)],
            a_context(0.5),
            0,
            Circumstances(NOW),
        )
    assert await pool.fetchval("SELECT count(*) FROM hold_out_assignments") == 1
    erased = CustomerErased(customer_id="c-1", occurred_at=NOW, decided_at=NOW, incarnation=0)
    published = StageEvent("touchline.customer-erased", erased, "e-1", erased.model_dump(mode="json"))
    async with pool.acquire() as connection, connection.transaction():
        await apply_events(
            PostgresTransaction(connection, Hashes("key"), 1), [published], a_context(0.5), 0, Circumstances(NOW)
        )
    assert await pool.fetchval("SELECT count(*) FROM hold_out_assignments") == 0
