"""Names for lists of ids: as many as fit an address, and none while the engine is away."""

from typing import Any

import pytest
from touchline_console.application.names import names
from touchline_console.application.ports import Unreachable


class Engine:
    """Answers with a name for every id but one, whose address is known alone."""

    name = "engine"

    def __init__(self, *, away: bool = False) -> None:
        self.away = away
        self.asked: list[list[str]] = []

    async def get(self, path: str, **parameters: Any) -> Any:
        assert path == "/v1/customer-summaries"
        self.asked.append(parameters["id"])
        if self.away:
            raise Unreachable("engine", "no answer")
        items = [
            {"customer_id": one, "name": None if one == "c-2" else f"Name of {one}", "email": f"{one}@example.org"}
            for one in parameters["id"]
            if one != "c-3"
        ]
        return {"items": items, "next": None}

    async def send(self, method: str, path: str, body: Any = None, *, seconds: float | None = None) -> Any:
        raise NotImplementedError

    def events(self, path: str, **parameters: Any) -> Any:
        raise NotImplementedError


async def test_a_name_else_an_address_else_nothing() -> None:
    engine = Engine()
    assert await names(engine, ["c-1", "c-2", "c-3", "c-1"]) == {"c-1": "Name of c-1", "c-2": "c-2@example.org"}
    assert engine.asked == [["c-1", "c-2", "c-3"]]
    assert await names(engine, []) == {}
    assert len(engine.asked) == 1


@pytest.mark.parametrize("ids", [[f"c-{n}" for n in range(1000)], ["ü" * 500 + str(n) for n in range(50)]])
async def test_an_address_stays_short_whatever_the_ids(ids: list[str]) -> None:
    engine = Engine()
    await names(engine, ids)
    (asked,) = engine.asked
    assert 0 < len(asked) <= 200
    assert sum(3 * len(one.encode()) for one in asked) < 8000


async def test_while_the_engine_is_away_ids_stay() -> None:
    assert await names(Engine(away=True), ["c-1"]) == {}
