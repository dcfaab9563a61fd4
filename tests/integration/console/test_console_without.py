"""A service that is away, and people who have to sign in."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser
from touchline_devstack.processes import Service

from tests.support.console.look import Look
from tests.support.console.world import ConsoleWorld

pytestmark = [pytest.mark.stack, pytest.mark.browser]
NOWHERE = "http://127.0.0.1:9"


@contextmanager
def console(world: ConsoleWorld, name: str, **environment: str) -> Iterator[Service]:
    service = world.another_console(name, **environment)
    try:
        yield service.wait_ready()
    finally:
        service.terminate()


@pytest.mark.parametrize(
    ("missing", "still_there"),
    [
        (
            "INGEST",
            {"/": "Customer service cycle", "/sources": "Ingest does not answer", "/operations": "Stage engine"},
        ),
        (
            "NOTIFIER",
            {"/": "Customer service cycle", "/customers/c-3": "Why", "/plays": "The notifier does not answer"},
        ),
        (
            "ENGINE",
            {"/": "The stage engine does not answer", "/plays": "Win back", "/operations": "Deliveries pending"},
        ),
    ],
)
def test_what_is_missing_is_named_and_the_rest_works(
    world: ConsoleWorld, browser: Browser, missing: str, still_there: dict[str, str]
) -> None:
    with console(world, f"without-{missing.lower()}", **{f"TOUCHLINE_{missing}_URL": NOWHERE}) as service:
        for path, text in still_there.items():
            with Look(browser, service.url).page(path) as look:
                assert look.status == 200, path
                assert text in look.text(), (path, look.text())
                assert path == "/plays" or "does not answer" in look.text(), path
                assert look.accessibility() == []
                assert look.complaints() == []


def test_a_customer_without_the_engine_is_a_clear_503(world: ConsoleWorld, browser: Browser) -> None:
    with (
        console(world, "no-engine", TOUCHLINE_ENGINE_URL=NOWHERE) as service,
        Look(browser, service.url).page("/customers/c-3") as look,
    ):
        assert look.status == 503
        assert "The stage engine does not answer" in look.text()


def client(service: Service) -> httpx.Client:
    return httpx.Client(base_url=service.url, timeout=60, trust_env=False)


def test_people_sign_in_with_a_token_and_out_again(world: ConsoleWorld) -> None:
    with console(world, "guarded", TOUCHLINE_API_TOKENS="open-sesame-1234") as service, client(service) as http:
        asked = http.get("/customers?q=x")
        assert (asked.status_code, asked.headers["location"]) == (303, "/sign-in?next=%2Fcustomers%3Fq%3Dx")
        for path in ("/live", "/docs", "/openapi.json", "/operations"):
            assert http.get(path).status_code in (303, 401), path
        wrong = http.post("/sign-in", data={"token": "wrong", "next": "/"})
        assert wrong.status_code == 401
        assert "set-cookie" not in wrong.headers
        right = http.post("/sign-in", data={"token": "open-sesame-1234", "next": "/customers?q=x"})
        assert (right.status_code, right.headers["location"]) == (303, "/customers?q=x")
        cookie = right.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "max-age=43200" in cookie
        assert "open-sesame" not in cookie
        session = http.cookies["touchline_session"]
        assert http.get("/customers").status_code == 200
        http.post("/sign-out")
        http.cookies.clear()
        again = http.get("/customers", headers={"Cookie": f"touchline_session={session}"})
        assert again.status_code == 303, "a session that was ended opens nothing"


@pytest.mark.parametrize("address", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:x"])
def test_signing_in_leads_to_the_console_alone(world: ConsoleWorld, address: str) -> None:
    with console(world, "leads", TOUCHLINE_API_TOKENS="open-sesame-1234") as service, client(service) as http:
        right = http.post("/sign-in", data={"token": "open-sesame-1234", "next": address})
        assert right.headers["location"] == "/"


def test_roles_allow_and_forbid_and_a_token_that_is_taken_away_ends_its_sessions(
    world: ConsoleWorld, tmp_path: Path
) -> None:
    digest = hashlib.sha256(b"ada-token-123456").hexdigest()
    file = tmp_path / "tokens.yaml"
    file.write_text(f"tokens: [{{name: ada, role: viewer, token_sha256: {digest}}}]")
    with console(world, "roles", TOUCHLINE_TOKENS_FILE=str(file)) as service, client(service) as http:
        http.post("/sign-in", data={"token": "ada-token-123456", "next": "/"})
        page = http.get("/operations").text
        assert "ada · viewer" in page
        assert "Switch sending off" not in page
        assert http.post("/sending", data={"on": "0"}).status_code == 403
        other = hashlib.sha256(b"bob-token-123456").hexdigest()
        file.write_text(f"tokens: [{{name: bob, role: operator, token_sha256: {other}}}]")
        world.wait("the session ends with the token", lambda: http.get("/operations").status_code == 303)


def test_other_sites_change_nothing(world: ConsoleWorld) -> None:
    with httpx.Client(base_url=world.console, timeout=60, trust_env=False) as http:
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert http.post("/sending", data={"on": "0"}, headers=headers).status_code == 403
        assert http.get("/", headers={"Host": "evil.example"}).status_code == 421
    assert world.ask("notifier", "/v1/sending")["sending"] is True
