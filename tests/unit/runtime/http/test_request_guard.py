"""The gate. The kinds: what a browser sends by itself proves nothing, and nothing is read before the token is asked."""

import base64
import re
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Request
from touchline_runtime.config.exposure import Exposure
from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.http.app import build_app
from touchline_runtime.http.auth import Access, require_token
from touchline_runtime.http.page_policy import page_policy
from touchline_runtime.metrics import Metrics
from touchline_runtime.process.health import Health

BASIC = "Basic " + base64.b64encode(b"browser:right").decode()


def application(access: Access | None = None, **settings: Any) -> FastAPI:
    app = build_app(
        "t",
        version="1",
        about="",
        health=Health(),
        metrics=Metrics([]),
        settings=ServiceSettings(**settings),
        access=access,
        proven=lambda path: path.startswith("/door"),
    )
    guard = [Depends(require_token(app.state.access))]

    @app.post("/change", dependencies=guard)
    async def change(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @app.get("/read", dependencies=guard)
    async def read() -> str:
        return "done"

    @app.post("/door")
    async def door() -> str:
        return "done"

    return app


def client(app: FastAPI, host: str = "127.0.0.1:8081") -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{host}")


FOREIGN_PAGES = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:3000"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:3000"},
    {"Origin": "http://127.0.0.1"},
    {"Origin": "http://127.0.0.1:8081.evil.example"},
    {"Origin": "file://"},
]


@pytest.mark.parametrize("path", ["/change", "/door"])
@pytest.mark.parametrize("headers", FOREIGN_PAGES)
@pytest.mark.parametrize("tokens", ["", "right"])
async def test_a_page_of_another_origin_can_not_change_anything(
    headers: dict[str, str], tokens: str, path: str
) -> None:
    async with client(application(api_tokens=tokens)) as http:
        answer = await http.post(path, headers={**headers, "Authorization": BASIC})
    assert answer.status_code == 403
    assert answer.json()["type"] == "/problems/cross-origin"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://127.0.0.1:8081"},
        {"Origin": "http://127.0.0.1:8081", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://touchline.example"},
    ],
)
async def test_own_pages_and_programs_may(headers: dict[str, str]) -> None:
    async with client(application(api_tokens="right", public_url="https://touchline.example")) as http:
        assert (await http.post("/change", headers={**headers, "Authorization": BASIC})).status_code == 200


async def test_a_bearer_token_is_sent_by_programs_alone() -> None:
    async with client(application(api_tokens="right")) as http:
        sent = {"Authorization": "Bearer right", "Origin": "http://elsewhere.example"}
        assert (await http.post("/change", headers=sent)).status_code == 200


@pytest.mark.parametrize("path", ["/read", "/docs", "/openapi.json", "/readyz", "/metrics", "/healthz", "/change"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8081", "127.0.0.1.evil.example", "localhost.evil"])
async def test_a_foreign_host_name_for_loopback_is_refused(path: str, host: str) -> None:
    async with client(application(), host) as http:
        answer = await http.request("POST" if path == "/change" else "GET", path)
    assert answer.status_code == 421


@pytest.mark.parametrize(
    "host", ["[::1].evil.example", "[::1]evil.example:8081", "127.0.0.1:80:evil.example", "127.0.0.1:x.example",
             "[evil.example]:1", "evil.example.:1", "0x7f.1", "127.1", "127.0.0.1, evil.example"],
)  # fmt: skip
def test_what_only_begins_like_an_address_is_a_foreign_name(host: str) -> None:
    assert not Exposure().answers_to(host)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8081", "engine:8081", "127.0.0.1", "127.0.0.9:1", "[::1]:8081", "[::1]",
             "[::1]:", "10.0.0.3:8081", "localhost.:8081", "LOCALHOST", "a.localhost",
             "in.example", "IN.example:443", "touchline.example", "other.example"],
)  # fmt: skip
async def test_own_names_and_addresses_are_answered(host: str) -> None:
    settings: dict[str, Any] = {"public_url": "https://touchline.example", "allowed_hosts": "in.example, other.example"}
    async with client(application(**settings), host) as http:
        assert (await http.get("/read")).status_code == 200


async def test_beyond_loopback_any_name_is_answered_unless_names_are_listed() -> None:
    for listed, status in (("", 200), ("in.example", 421)):
        app = application(api_tokens="right", http_host="0.0.0.0", allowed_hosts=listed)
        async with client(app, "engine.svc") as http:
            answer = await http.get("/read", headers={"Authorization": "Bearer right"})
        assert answer.status_code == status


async def _answer_without_body(app: FastAPI, headers: list[tuple[bytes, bytes]]) -> int:
    """The status of a request whose body must not be read."""

    async def receive() -> Any:
        raise AssertionError("the body was read")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/change", "raw_path": b"/change", "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), *headers], "scheme": "http", "http_version": "1.1",
        "server": ("127.0.0.1", 1), "client": ("127.0.0.1", 2), "root_path": "",
    }  # fmt: skip
    await app(scope, receive, send)
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    "headers",
    [[(b"content-length", b"200000000")], [(b"transfer-encoding", b"chunked")], [(b"content-length", b"10")]],
)
async def test_no_byte_of_a_body_is_read_before_the_token_is_right(headers: list[tuple[bytes, bytes]]) -> None:
    app = application(api_tokens="right")
    assert await _answer_without_body(app, headers) == 401
    assert await _answer_without_body(app, [*headers, (b"authorization", b"Bearer wrong")]) == 401


async def test_a_body_beyond_the_limit_is_not_read_even_with_the_token() -> None:
    headers = [(b"content-length", b"200000000"), (b"authorization", b"Bearer right")]
    assert await _answer_without_body(application(api_tokens="right"), headers) == 413


async def test_a_body_without_a_length_is_read_to_the_limit_alone() -> None:
    given = 0

    async def endless() -> Any:
        nonlocal given
        for _ in range(1000):
            given += 100_000
            yield b"x" * 100_000

    async with client(application()) as http:
        answer = await http.post("/change", content=endless())
    assert answer.status_code == 413
    assert given <= 1_200_000


async def test_a_body_within_the_limit_arrives_whole() -> None:
    async with client(application()) as http:
        assert (await http.post("/change", content=b"y" * 900_000)).json() == {"bytes": 900_000}


@pytest.mark.parametrize(("method", "path"), [("GET", "/read"), ("GET", "/nowhere"), ("POST", "/change")])
async def test_every_answer_keeps_browsers_from_running_and_framing_it(method: str, path: str) -> None:
    async with client(application()) as http:
        headers = (await http.request(method, path)).headers
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


async def test_the_api_page_loads_only_files_of_this_process() -> None:
    async with client(application()) as http:
        page = await http.get("/docs")
        policy = page.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert {"script-src 'self'", "style-src 'self'", "connect-src 'self'"} <= set(policy.split("; "))
        assert re.search(r"<style|style=|<script>| on[a-z]+=", page.text) is None
        loaded = re.findall(r"(?:src|href)=\"([^\"]+)\"", page.text)
        files = {path: await http.get(f"/{path}") for path in loaded if not path.startswith("data:")}
    assert len(files) == 3
    for path, file in files.items():
        assert file.status_code == 200, path
        assert file.headers["content-type"].split(";")[0] in ("text/javascript", "text/css")


def test_what_is_not_in_a_pages_source_has_no_hash() -> None:
    assert "script-src 'none'" in page_policy("<p>no script</p>")


async def test_clients_without_a_token_on_a_public_address_learn_no_details() -> None:
    async def broken() -> None:
        raise ConnectionError("10.1.2.3:9092 does not answer")

    app = build_app(
        "t", version="1", about="", health=Health(checks={"kafka": broken}), metrics=Metrics([]),
        settings=ServiceSettings(api_tokens="right", http_host="0.0.0.0"),
    )  # fmt: skip
    async with client(app) as http:
        stranger = await http.get("/readyz")
        known = await http.get("/readyz", headers={"Authorization": "Bearer right"})
        pages = [await http.get(path) for path in ("/docs", "/docs/start.js", "/openapi.json", "/metrics")]
        scraped = await http.get("/metrics", headers={"Authorization": "Bearer right"})
        opened = await http.get("/docs", headers={"Authorization": BASIC})
    assert (stranger.status_code, stranger.json()) == (503, {"status": "not ready"})
    assert "10.1.2.3:9092" in known.text
    assert [page.status_code for page in pages] == [401, 401, 401, 401]
    assert b"touchline_http_requests_total" in scraped.content
    assert opened.status_code == 200


async def test_without_any_token_a_public_address_shows_no_details_to_anybody() -> None:
    app = application(Access(local=False))
    async with client(app) as http:
        assert (await http.get("/read")).status_code == 401
        assert (await http.post("/door")).status_code == 200


async def test_metrics_of_a_public_port_need_a_token_whatever_else_proves_requests_there() -> None:
    settings = ServiceSettings(api_tokens="right", http_host="::")
    app = build_app(
        "t", version="1", about="", health=Health(), metrics=Metrics([]), settings=settings, access=Access()
    )
    async with client(app) as http:
        assert (await http.get("/metrics")).status_code == 401
        assert (await http.get("/metrics", headers={"Authorization": "Bearer wrong"})).status_code == 401
        assert (await http.get("/metrics", headers={"Authorization": BASIC})).status_code == 200
        assert (await http.get("/healthz")).status_code == 200


async def test_metrics_leave_the_public_port_when_they_have_one_of_their_own() -> None:
    app = application(metrics_port=0)
    async with client(app) as http:
        assert (await http.get("/metrics")).status_code == 404
        assert (await http.get("/healthz")).status_code == 200
    async with client(app.state.operations) as http:
        for path in ("/metrics", "/healthz", "/readyz"):
            assert (await http.get(path)).status_code == 200
        assert "checks" in (await http.get("/readyz")).json()


OPEN = ("/healthz", "/readyz", "/metrics")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *((method, path, 200) for method in ("GET", "HEAD") for path in (*OPEN, "/read")),
        *((method, "/nowhere", 404) for method in ("GET", "HEAD")),
        *(("POST", path, 405) for path in OPEN),
    ],
)
async def test_no_body_is_waited_for_where_none_belongs(method: str, path: str, status: int) -> None:
    async def never() -> Any:
        raise AssertionError("the body was asked for")

    statuses: list[int] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"content-length", b"100000"), (b"authorization", b"Bearer right")],
        "scheme": "http", "http_version": "1.1", "server": ("127.0.0.1", 1), "client": ("127.0.0.1", 2),
        "root_path": "",
    }  # fmt: skip
    await application(api_tokens="right")(scope, never, send)
    assert statuses == [status]
