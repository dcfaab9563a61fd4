"""The engine ends where the sorted set does, by the compiled steps and by the Python code, and says which run."""

import random
from typing import Any

import asyncpg
import httpx
import orjson
import pytest
from touchline_runtime.config.settings import read_settings
from touchline_stage_engine import bootstrap
from touchline_stage_engine.adapters.postgres.partition import row_copies
from touchline_stage_engine.adapters.postgres.partition.lease import connect
from touchline_stage_engine.adapters.postgres.partition.row_copies import EncodeRows, RowCopies
from touchline_stage_engine.settings import StageEngineSettings

from tests.integration.engine.test_engine_order import agree
from tests.support.compiled import compiled_hot_path
from tests.support.engine.expected import random_touchpoints, utc_now
from tests.support.engine.world import World
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

TABLE = """
CREATE TEMPORARY TABLE copied (
    no int4, a text, b bytea, c int8, d int4, e int2, f float8, g bool, h json
)
"""
COLUMNS = ("no", "a", "b", "c", "d", "e", "f", "g", "h")


@pytest.mark.parametrize(("setting", "runs"), [("true", "compiled"), ("false", "python")])
async def test_it_folds_by_either_code_and_says_which(world: World, setting: str, runs: str) -> None:
    compiled_hot_path()
    now = utc_now()
    posted = random_touchpoints(random.Random(5), [{"customer_id": f"c{n}"} for n in range(40)], 30, now)
    # Some that the compiled code leaves to the Python code.
    for place, one in enumerate(posted):
        if place % 7 == 0:
            one["properties"] = {"note": 'say "hi"', "deep": [1, {"a": 2.5}], "score": 3}
        if place % 11 == 0:
            one["anonymous_id"] = one["customer_id"].replace("c", "a")
    process = await world.running(TOUCHLINE_COMPILED=setting)
    lines = [orjson.loads(line) for line in process.log.read_bytes().splitlines()]
    assert [line["compiled"] for line in lines if line["event"] == "hot_path"] == [runs == "compiled"]
    await world.post(posted)
    await world.folded(len(posted))
    await agree(world, posted)
    await world.published()

    async def says() -> bool:
        async with httpx.AsyncClient(timeout=60) as client:
            answer = await client.get(f"http://127.0.0.1:{process.port}/readyz")
        return bool(answer.json()["hot_path"] == runs)

    await wait_until(says, "it says by which code it folds")


def random_row(chance: random.Random, no: int) -> tuple[Any, ...]:
    def some(value: Any) -> Any:
        return None if chance.random() < 0.2 else value

    text = "".join(chance.choices('ab \u00e9\U0001f600\n"\\', k=chance.randrange(9)))
    return (
        no,
        some(text * chance.choice([1, 1, 1, 500])),
        some(chance.randbytes(chance.choice([0, 3, 5000]))),
        some(chance.choice([0, -1, 2**63 - 1, -(2**63), chance.getrandbits(40)])),
        some(chance.choice([0, -1, 2**31 - 1, -(2**31)])),
        some(chance.choice([0, -1, 2**15 - 1, -(2**15)])),
        some(chance.choice([0.0, -1.5, 1e300, float("inf"), chance.random()])),
        some(chance.random() < 0.5),
        some(chance.choice(["{}", '{"a": "\u00e9"}', "[1, 2.50]"])),
    )


@pytest.fixture
async def connection(database_url: str) -> Any:
    settings = read_settings(StageEngineSettings, database_url=database_url)
    await bootstrap.migrate(settings)
    found = await connect(settings, "test")
    await found.execute(TABLE)
    yield found
    await found.close()


async def _copied(connection: asyncpg.Connection, encode: EncodeRows | None, rows: list[Any]) -> list[Any] | str:
    """What is in the table after a copy, or the error's class."""
    await connection.execute("TRUNCATE copied")
    try:
        await RowCopies(connection, encode).copy("copied", rows, COLUMNS)
    except (asyncpg.DataError, asyncpg.InterfaceError, OverflowError, TypeError, UnicodeEncodeError) as error:
        return type(error).__name__
    return [tuple(row) for row in await connection.fetch("SELECT * FROM copied ORDER BY no")]


@pytest.mark.parametrize("count", [0, 1, 3, 700])
async def test_rows_that_compiled_code_encodes_arrive_as_those_of_the_driver(connection: Any, count: int) -> None:
    encode = row_copies.compiled_encoder()
    compiled_hot_path()
    assert encode is not None
    chance = random.Random(count)
    rows = [random_row(chance, no) for no in range(count)]
    assert encode(rows, b"4tb842f?t") is not None
    assert await _copied(connection, encode, rows) == await _copied(connection, None, rows) == rows


@pytest.mark.parametrize(
    "changed",
    [
        {3: 2**63}, {4: 2**31}, {5: -(2**15) - 1}, {1: "a\x00b"}, {1: "\ud800"}, {1: b"bytes"}, {1: 7}, {3: 1.0},
        {3: True}, {6: 1}, {7: 1}, {8: "{broken"}, {2: "text"}, {2: bytearray(b"x")}, {2: memoryview(b"x")},
    ],
)  # fmt: skip
async def test_an_unusual_value_has_the_same_end_as_in_the_driver(connection: Any, changed: dict[int, Any]) -> None:
    encode = row_copies.compiled_encoder()
    compiled_hot_path()
    assert encode is not None
    rows = [random_row(random.Random(1), no) for no in range(3)]
    rows[1] = tuple(changed.get(place, value) for place, value in enumerate(rows[1]))
    assert await _copied(connection, encode, rows) == await _copied(connection, None, rows)


async def test_a_column_of_another_type_is_left_to_the_driver(connection: Any) -> None:
    encode = row_copies.compiled_encoder()
    compiled_hot_path()
    await connection.execute("CREATE TEMPORARY TABLE others (at date)")
    day = utc_now().date()
    await RowCopies(connection, encode).copy("others", [(day,)], ("at",))
    assert await connection.fetchval("SELECT at FROM others") == day
