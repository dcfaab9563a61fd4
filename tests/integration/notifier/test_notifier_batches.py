"""A history that is read in costs the database a number of statements that doesn't grow with it."""

from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr
from touchline_notifier import bootstrap
from touchline_notifier.adapters.postgres.transaction import PostgresTransaction
from touchline_notifier.application.deciding.decide import DecisionContext, apply_events
from touchline_notifier.core.decisions.decide import Decider
from touchline_notifier.core.decisions.stage_events import StageEvent, fact_of
from touchline_notifier.core.delivery.endpoints import Endpoint
from touchline_notifier.core.limits.limits import Circumstances
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.plays.rendering import Templates
from touchline_notifier.core.profiles.address_hashes import Hashes
from touchline_schemas.events.facts import CustomerMerged, CustomerStalled
from touchline_schemas.ids import fact_id

from tests.support.notifier.world import World

pytestmark = pytest.mark.stack

NOW = datetime.now(UTC)


def a_stall(customer: str, backfill: bool, level: int = 1) -> StageEvent:
    event = CustomerStalled(
        customer_id=customer, lifecycle="service-cycle", lifecycle_version=1, fact_no=1, occurred_at=NOW,
        decided_at=NOW, backfill=backfill, stage="retention", level=level, since=NOW, due_at=NOW,
    )  # fmt: skip
    ident = str(fact_id(customer, "service-cycle", 0, 1))
    return StageEvent("touchline.customer-stalled", fact_of(ident, event), ident, event.model_dump(mode="json"))


def a_merge(old: str, into: str) -> StageEvent:
    event = CustomerMerged(customer_id=old, into=into, fact_no=1, occurred_at=NOW, decided_at=NOW)
    return StageEvent("touchline.customer-merged", event, f"{old}-{into}", event.model_dump(mode="json"))


def a_history(name: str, customers: int, backfill: bool) -> list[StageEvent]:
    """Customers who were anonymous first: a stall of the old key, the merge, the next level."""
    return [
        published
        for n in range(customers)
        for published in (
            a_stall(f"anon:{name}{n}", backfill),
            a_merge(f"anon:{name}{n}", f"{name}{n}"),
            a_stall(f"{name}{n}", backfill, level=2),
        )
    ]


@pytest.mark.parametrize("backfill", [True, False])
async def test_a_thousand_facts_with_merges_between_take_as_many_statements_as_ten(
    world: World, backfill: bool
) -> None:
    settings = world.settings.model_copy(update={"database_url": SecretStr(world.database_url)})
    await bootstrap.migrate(settings)
    play = Play.model_validate(
        {
            "play": "win-back",
            "when": {"fact": "customer-stalled"},
            "action": {"channel": "webhook", "endpoint": "crm", "body": "Hello"},
        }
    )
    crm = Endpoint(name="crm", subscribe=("customer-merged",))
    context = DecisionContext(Decider({"win-back": play}, Templates()), {"crm": crm}, 1, frozenset({"email"}))

    async def taken(connection: asyncpg.Connection, published: list[StageEvent]) -> int:
        asked: list[Any] = []
        with connection.query_logger(asked.append):
            async with connection.transaction():
                await apply_events(
                    PostgresTransaction(connection, Hashes("key"), 1), published, context, 0, Circumstances(NOW)
                )
        return len(asked)

    connection = await asyncpg.connect(world.database_url, server_settings={"search_path": settings.search_path})
    try:
        # Once before, when the driver asks for the types of the columns.
        await taken(connection, a_history("first", 5, backfill))
        ten = await taken(connection, a_history("few", 5, backfill))
        thousand = await taken(connection, a_history("many", 500, backfill))
    finally:
        await connection.close()
    assert ten == thousand < 60
    pool = await world.database()
    outcomes = await pool.fetch("SELECT outcome, reason_code, count(*) AS n FROM actions GROUP BY 1, 2")
    assert [tuple(row) for row in outcomes] == [("held", "backfill", 1020) if backfill else ("decided", None, 1020)]
    assert await pool.fetchval("SELECT count(*) FROM actions WHERE customer_id LIKE 'anon:%'") == 0
    deliveries = await pool.fetch("SELECT kind, count(*) AS n FROM deliveries GROUP BY 1 ORDER BY 1")
    sent = [] if backfill else [("action", 1020)]
    assert [tuple(row) for row in deliveries] == [*sent, ("subscription", 510)]
