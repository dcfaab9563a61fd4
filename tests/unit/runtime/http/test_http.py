"""The common HTTP application: health, metrics, problems, tokens."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
import sqlalchemy.exc
from fastapi import Depends, FastAPI
from fastapi.responses import StreamingResponse
from structlog.testing import capture_logs
from touchline_runtime.database.faults import REFUSALS
from touchline_runtime.errors import Unavailable
from touchline_runtime.http.app import build_app
from touchline_runtime.http.auth import require_token
from touchline_runtime.http.problems import Problem, TimeLimit
from touchline_runtime.metrics import Counter, Gauge, Histogram, Metrics
from touchline_runtime.process.health import Health

SEEN = Counter("touchline_seen", "things seen", "nothing to do", ("kind",))
OPEN = Gauge("touchline_open", "things open", "close some")
TOOK = Histogram("touchline_took_seconds", "time taken", "be quicker")


def application(health: Health | None = None, metrics: Metrics | None = None) -> FastAPI:
    return build_app("t", version="1", about="", health=health or Health(), metrics=metrics or Metrics([]))


def client(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://t")


async def test_a_process_is_alive_even_when_it_is_not_ready() -> None:
    async def broken() -> None:
        raise Unavailable("Kafka does not answer")

    async def fine() -> None:
        return None

    health = Health(checks={"kafka": broken, "database": fine})
    async with client(application(health)) as http:
        assert (await http.get("/healthz")).status_code == 200
        answer = await http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"] == {"kafka": "Unavailable: Kafka does not answer", "database": "ok"}


async def test_a_check_that_hangs_is_not_ready() -> None:
    health = Health(timeout=0.01, checks={"kafka": asyncio.Event().wait})  # type: ignore[dict-item]
    assert await health.readiness() == (False, {"kafka": "no answer in 0.01 s"})


async def test_two_processes_worth_of_metrics_never_share_a_count() -> None:
    ours, theirs = Metrics([SEEN, OPEN, TOOK]), Metrics([SEEN])
    ours.counter(SEEN).labels("a").inc(3)
    ours.gauge(OPEN).set(2)
    ours.histogram(TOOK).observe(0.3)
    async with client(application(metrics=ours)) as http:
        text = (await http.get("/metrics")).text
    assert 'touchline_seen_total{kind="a"} 3.0' in text
    assert "touchline_open 2.0" in text
    assert "touchline_took_seconds_count 1.0" in text
    assert b"touchline_seen_total{" not in theirs.exposition()


async def test_every_error_is_a_problem() -> None:
    app = application()

    @app.get("/refused")
    async def refused() -> None:
        raise Problem(429, "slow down", type="rate-limited", headers={"Retry-After": "3"}, limit=5)

    @app.get("/away")
    async def away() -> None:
        raise Unavailable("PostgreSQL does not answer")

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("secret detail")

    @app.get("/number/{n}")
    async def number(n: int) -> int:
        return n

    async with client(app) as http:
        answers = {path: await http.get(path) for path in ("/refused", "/away", "/broken", "/number/x", "/nowhere")}
        posted = await http.post("/refused")
    assert {path: answer.status_code for path, answer in answers.items()} == {
        "/refused": 429, "/away": 503, "/broken": 500, "/number/x": 422, "/nowhere": 404,
    }  # fmt: skip
    for answer in (*answers.values(), posted):
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
    assert answers["/refused"].json()["limit"] == 5
    assert answers["/refused"].headers["retry-after"] == "3"
    assert "retry-after" in answers["/away"].headers
    assert "secret detail" not in answers["/broken"].text


def _wrapped(cause: Exception) -> Exception:
    """As SQLAlchemy raises what asyncpg raised."""
    adapted = RuntimeError(str(cause))
    adapted.__cause__ = cause
    return sqlalchemy.exc.ProgrammingError("SELECT secret FROM customers", {}, adapted)


def _translated(cause: Exception) -> Exception:
    """As an adapter raises it."""
    error = Unavailable(f"{type(cause).__name__}: {cause}")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("raised", [lambda cause: cause, _wrapped, _translated])
@pytest.mark.parametrize("kind", REFUSALS)
async def test_a_database_that_refuses_is_unavailable_and_the_answer_says_what_to_do(
    kind: type[Exception], raised: Callable[[Exception], Exception]
) -> None:
    app = application()

    @app.get("/asks")
    async def asks() -> None:
        raise raised(kind('permission denied for table "secret" at 127.0.0.1'))

    with capture_logs() as logs:
        async with client(app) as http:
            answer = await http.get("/asks")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/database-refuses"
    assert "migrate" in answer.json()["detail"]
    assert "secret" not in answer.text
    assert "127.0.0.1" not in answer.text
    (logged,) = logs
    assert (logged["event"], logged["log_level"]) == ("database_refuses", "error")
    assert kind.__name__ in logged["error"]


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (None, 401),
        ("Bearer wrong", 401),
        ("Bearer ", 401),
        ("Basic !!!", 401),
        ("Bearer right", 200),
        ("Basic " + base64.b64encode(b"anybody:right").decode(), 200),
        ("Basic " + base64.b64encode(b"right:").decode(), 200),
    ],
)
async def test_a_configured_token_opens_and_nothing_else_does(header: str | None, status: int) -> None:
    app = application()
    guard = require_token(frozenset({hashlib.sha256(b"right").hexdigest()}))

    @app.get("/guarded", dependencies=[Depends(guard)])
    async def guarded() -> str:
        return "in"

    async with client(app) as http:
        answer = await http.get("/guarded", headers={"Authorization": header} if header else {})
    assert answer.status_code == status


async def test_the_page_of_the_api_asks_no_other_host() -> None:
    async with client(application()) as http:
        page = await http.get("/docs")
        described = (await http.get("/openapi.json")).json()
    assert page.status_code == 200
    assert "://" not in page.text
    assert "/readyz" in described["paths"]


async def test_a_path_is_in_no_log_since_it_may_name_a_person_or_hold_a_token() -> None:
    """Kind: everything that is logged of a request that failed, whatever made it fail."""
    app = application()
    app.add_middleware(TimeLimit, seconds=2)
    faults: dict[str, Exception] = {"away": ConnectionRefusedError(), "ours": RuntimeError(), "slow": TimeoutError()}

    @app.get("/v1/people/{kind}/{name}")
    async def fails(kind: str, name: str) -> None:
        if kind == "waits":
            await asyncio.sleep(60)
        raise faults[kind]

    statuses = []
    with capture_logs() as logged:
        async with client(app) as http:
            for kind in (*faults, "waits"):
                statuses.append((await http.get(f"/v1/people/{kind}/ada@example.org")).status_code)
    assert statuses == [503, 500, 503, 503]
    assert [line["route"] for line in logged] == ["/v1/people/{kind}/{name}"] * 4
    assert "ada" not in str(logged)


def with_routes() -> tuple[FastAPI, list[str]]:
    app, recorded = application(), []

    @app.get("/text/{name}")
    async def text(name: str) -> dict[str, str]:
        return {"name": name}

    @app.get("/missing")
    async def missing() -> None:
        raise Problem(404, "nothing here")

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def forever() -> AsyncIterator[bytes]:
            while True:
                yield b"more"
                await asyncio.sleep(0.01)

        return StreamingResponse(forever(), headers={"X-Stream": "yes"})

    @app.get("/records")
    async def records() -> None:
        recorded.append("GET")

    @app.head("/records")
    async def looks() -> None:
        return None

    @app.post("/command")
    async def command() -> None:
        recorded.append("POST")

    return app, recorded


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/text/a", "/missing"])
async def test_head_is_answered_as_get_is_without_a_body(path: str) -> None:
    app, _ = with_routes()
    async with client(app) as http:
        got, head = await http.get(path), await http.head(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-type"] == got.headers["content-type"]


async def test_head_of_what_records_something_records_nothing_and_a_command_has_no_head() -> None:
    app, recorded = with_routes()
    async with client(app) as http:
        assert (await http.head("/records")).status_code == 200
        assert (await http.head("/command")).status_code == 405
    assert recorded == []


async def test_head_of_a_stream_is_answered_and_ends() -> None:
    app, _ = with_routes()
    async with client(app) as http:
        answer = await http.head("/stream")
    assert (answer.status_code, answer.headers["x-stream"], answer.content) == (200, "yes", b"")


async def test_head_is_counted_as_head_with_its_route() -> None:
    app, _ = with_routes()
    async with client(app) as http:
        await http.head("/text/b")
        text = (await http.get("/metrics")).text
    assert 'method="HEAD",route="/text/{name}",service="t",status="200"' in text


async def test_the_port_of_operations_answers_head_too() -> None:
    app, _ = with_routes()
    async with client(app.state.operations) as http:
        assert [(await http.head(path)).status_code for path in ("/healthz", "/readyz", "/metrics")] == [200] * 3
