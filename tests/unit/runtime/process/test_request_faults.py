"""Kind: a line in the log for each request that an outage makes fail."""

import asyncio
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from touchline_runtime.database.faults import REFUSALS
from touchline_runtime.http.app import build_app
from touchline_runtime.http.problems import TimeLimit
from touchline_runtime.metrics import Metrics
from touchline_runtime.process.health import Health
from touchline_runtime.process.request_faults import RequestFaults

REQUESTS = 300
KINDS = ("server_away", "database_refuses", "request_timed_out")
ROUTES = st.sampled_from(["/a", "/b/{id}", None])
BURSTS = st.lists(
    st.tuples(
        st.sampled_from([*KINDS, "answered"]), ROUTES, st.integers(1, 200), st.sampled_from([0.0, 0.1, 5.0, 61.0])
    ),
    min_size=1,
    max_size=30,
)


class Database:
    """What the routes of an application ask: it fails as told."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.silent = False

    async def ask(self) -> str:
        if self.silent:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return "yes"


def application(database: Database) -> FastAPI:
    app = build_app("t", version="1", about="", health=Health(), metrics=Metrics([]))
    app.add_middleware(TimeLimit, seconds=0.05)

    @app.get("/one/{number}")
    async def one(number: int) -> str:
        return await database.ask()

    @app.get("/another")
    async def another() -> str:
        return await database.ask()

    @app.get("/page")
    async def page() -> str:
        return "asks nothing"

    return app


@pytest.mark.parametrize("event", KINDS)
async def test_an_outage_under_load_is_logged_once_and_once_when_it_is_over(event: str) -> None:
    database = Database()
    if event == "request_timed_out":
        database.silent = True
    else:
        database.error = REFUSALS[0]("no right") if event == "database_refuses" else ConnectionRefusedError("nobody")
    transport = httpx.ASGITransport(application(database), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as http:

        async def statuses(*paths: str) -> set[int]:
            return {answer.status_code for answer in await asyncio.gather(*map(http.get, paths))}

        with capture_logs() as logs:
            assert await statuses(*(f"/one/{number}" for number in range(REQUESTS)), "/another") == {503}
        (line,) = logs
        assert (line["event"], line["route"]) == (event, "/one/{number}")
        database.error, database.silent = None, False
        with capture_logs() as logs:
            # What asks the database for nothing, or was not found, says nothing of it.
            assert await statuses("/page", "/nowhere", "/one/x") == {200, 404, 422}
            assert logs == []
            assert await statuses("/another", "/one/1", "/one/2") == {200}
        (line,) = logs
        assert (line["event"], line["fault"], line["attempts"]) == ("fault_over", event, REQUESTS + 1)


@given(BURSTS)
def test_bursts_of_failing_requests_have_a_line_at_once_and_one_a_minute(
    bursts: list[tuple[str, str | None, int, float]],
) -> None:
    now = 1000.0
    faults = RequestFaults(clock=lambda: now)
    say: dict[str, Any] = {
        "server_away": lambda route: faults.away(route, asyncpg.InterfaceError("connection is closed")),
        "database_refuses": lambda route: faults.refused(route, asyncpg.ReadOnlySQLTransactionError("replica"), "wait"),
        "request_timed_out": lambda route: faults.timed_out(route, 20),
        "answered": faults.answered,
    }
    begun: set[str] = set()
    with capture_logs() as logs:
        for kind, route, number, seconds in bursts:
            for _ in range(number):
                say[kind](route)
            if kind != "answered":
                begun.add(kind)
            assert begun == {line["event"] for line in logs} - {"fault_over"}
            now += seconds
    for kind in begun:
        said = [line for line in logs if line["event"] == kind]
        assert len(said) <= 1 + (now - 1000) // 60
        over = [line for line in logs if line["event"] == "fault_over" and line["fault"] == kind]
        assert len(over) <= len(said)
    with capture_logs() as logs:
        for route in ("/a", "/b/{id}", None):
            faults.answered(route)
        assert not faults.any
