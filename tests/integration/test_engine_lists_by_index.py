"""Kind: a list that pages by a condition no index serves, so that each page costs as much as the whole list.

The plans are those PostgreSQL makes without knowing the parameters, on tables of some size.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from touchline_runtime.config.settings import read_settings
from touchline_runtime.database import pools as database
from touchline_stage_engine import bootstrap
from touchline_stage_engine.adapters.postgres.partition.customers import CUSTOMERS_TO_WAKE
from touchline_stage_engine.adapters.postgres.reads import customers, lifecycles
from touchline_stage_engine.settings import StageEngineSettings

ROWS = 20_000

FILL = (
    f"""INSERT INTO touchpoints
            (customer_id, occurred_at, id, source, hash, type, channel, flags, received_at, properties)
        SELECT 'c' || n % 20, n, 'e' || n, 'shop', n, 'page_viewed', 'web', 0, n, '{{}}'
        FROM generate_series(1, {ROWS}) n""",
    f"""INSERT INTO history (customer_id, lifecycle, no, fact, sequence, occurred_at, version, stage, move, backfill)
        SELECT 'c' || n % 20, 'l', n, 'move', n, n, 1, 'a', CASE n % 50 WHEN 0 THEN 'lapse' ELSE 'advance' END, false
        FROM generate_series(1, {ROWS}) n""",
    f"""INSERT INTO stages SELECT 0, 'c' || n, 'l', 1, CASE n % 2 WHEN 0 THEN 'a' ELSE 'b' END, n, 1, n % 3, n, n
        FROM generate_series(1, {ROWS}) n""",
    f"""INSERT INTO identity_conflicts SELECT 'k' || n, 'o' || n, 'a' || n / 2, 'b' || n / 2, n, 'e', 'shop'
        FROM generate_series(1, {ROWS}) n""",
    f"""INSERT INTO customers (partition, customer_id, wake_at, generation, states)
        SELECT 0, 'c' || n, n, 1, '{{}}' FROM generate_series(1, {ROWS}) n""",
    "ANALYZE",
)

LISTS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "touchpoints": (customers.TOUCHPOINTS, {"customer_id": "c1", "at": 9, "id": "e", "source": "s"}, "occurred_at"),
    "history": (
        customers.HISTORY,
        {"customer_id": "c1", "lifecycle": None, "everything": False, "at": 9, "after": "l", "no": 3},
        "occurred_at",
    ),
    "conflicts": (customers.CONFLICTS, {"a": "a1", "b": "b1"}, "customer_a"),
    "stalled": (lifecycles.STALLED, {"name": "l", "since": 9, "after": "c"}, "stalled_since"),
    "stalled in a stage": (
        lifecycles.STALLED_IN_STAGE,
        {"name": "l", "stage": "a", "since": 9, "after": "c"},
        "stalled_since",
    ),
    "slipping": (
        lifecycles.SLIPPING,
        {"name": "l", "slipped_since": 3, "rank": -1, "since": 9, "after": "c"},
        "stalled_since",
    ),
}


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[AsyncConnection]:
    """Tables of some size, and a connection that plans without looking at parameters."""
    settings = read_settings(StageEngineSettings, database_url=database_url)
    await bootstrap.migrate(settings)
    path = f'"{settings.schema_name}"'
    async with (
        database.sqlalchemy_engine(settings, application_name="test", search_path=path) as engine,
        engine.connect() as connection,
    ):
        for statement in FILL:
            await connection.execute(text(statement))
        await connection.execute(text("SET plan_cache_mode = force_generic_plan"))
        yield connection


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan] + [one for child in plan.get("Plans", ()) for one in nodes(child)]


async def plan_of(connection: AsyncConnection, statement: Any, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    explained = text("EXPLAIN (FORMAT JSON) " + statement.text)
    found = (await connection.execute(explained, parameters)).scalar_one()
    (plan,) = found if isinstance(found, list) else json.loads(found)
    return nodes(plan["Plan"])


@pytest.mark.parametrize("name", LISTS)
async def test_a_page_is_found_by_an_index_and_reads_its_own_length(connection: AsyncConnection, name: str) -> None:
    statement, parameters, column = LISTS[name]
    plan = await plan_of(connection, statement, parameters | {"limit": 51})
    assert not [node for node in plan if node["Node Type"] == "Seq Scan"], plan
    assert [node for node in plan if column in node.get("Index Cond", "")], plan
    rows = (await connection.execute(statement, parameters | {"limit": 51})).mappings().all()
    assert 0 < len(rows) <= 51


@pytest.mark.parametrize("name", LISTS)
async def test_pages_one_after_the_other_are_the_whole_list(connection: AsyncConnection, name: str) -> None:
    statement, parameters, _ = LISTS[name]
    first: dict[str, Any] = {
        key: None for key in ("at", "id", "source", "after", "no", "a", "b", "since", "rank") if key in parameters
    }
    whole = (await connection.execute(statement, parameters | first | {"limit": ROWS})).mappings().all()
    assert len(whole) > 200
    position = dict(first)
    paged: list[Any] = []
    for _ in range(3):
        rows = (await connection.execute(statement, parameters | position | {"limit": 70})).mappings().all()
        paged += rows
        position = {key: rows[-1][column] for key, column in KEYS[name].items()}
    assert [dict(row) for row in paged] == [dict(row) for row in whole[:210]]


KEYS = {
    "touchpoints": {"at": "occurred_at", "id": "id", "source": "source"},
    "history": {"at": "occurred_at", "after": "lifecycle", "no": "no"},
    "conflicts": {"a": "customer_a", "b": "customer_b"},
    "stalled": {"since": "stalled_since", "after": "customer_id"},
    "stalled in a stage": {"since": "stalled_since", "after": "customer_id"},
    "slipping": {"rank": "rank", "since": "since", "after": "customer_id"},
}


async def test_timers_that_are_due_are_found_by_an_index(connection: AsyncConnection) -> None:
    driver = (await connection.get_raw_connection()).driver_connection
    assert driver is not None
    plan = await driver.fetchval("EXPLAIN (FORMAT JSON) " + CUSTOMERS_TO_WAKE, 0, 500, 500, 50, 9, "c")
    (explained,) = plan if isinstance(plan, list) else json.loads(plan)
    found = nodes(explained["Plan"])
    assert [node for node in found if "wake_at" in node.get("Index Cond", "")], found
