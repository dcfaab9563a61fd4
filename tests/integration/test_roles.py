"""Every route of every service is asked with a token of every role: the roles of DESIGN hold, route by route.

So they do for people who signed in to the console by OpenID Connect, whose tokens the console signs.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from touchline_devstack.processes import Service, command
from touchline_devstack.stack import Stack
from touchline_runtime.console_tokens.keys import new_key, public_text
from touchline_runtime.console_tokens.tokens import ENGINE, INGEST, NOTIFIER, ConsoleSigner

pytestmark = pytest.mark.stack

ROLES = ("viewer", "editor", "operator")
EDITORS_CHANGE = ("/v1/lifecycles", "/v1/simulations", "/v1/plays", "/v1/audiences")
KEY = new_key()
AUDIENCES = {"ingest": INGEST, "stage-engine": ENGINE, "notifier": NOTIFIER}
OPEN = ("/healthz", "/readyz", "/metrics")
PROVE_THEMSELVES = {
    "ingest": re.compile(
        r"/v1/(touchpoints|beacon|pixel\.gif|touchline\.js|a|alias|b|batch|g|group|i|identify|import|p|page|s|screen|t"
        r"|track|cloudevents|webhooks/\{source\})"
    ),
    "stage-engine": re.compile(r"(?!)"),
    "notifier": re.compile(r"/v1/(unsubscribe/\{token\}(/preferences)?|mail/(opened|clicked)/\{token\})"),
}
"""Routes for programs and customers: a write key, a signature or a link's token is their proof."""


def needed(method: str, path: str) -> str:
    """The role that DESIGN names for a route."""
    if method == "GET":
        return "viewer"
    return "editor" if path.startswith(EDITORS_CHANGE) else "operator"


@pytest.fixture(scope="module")
def services(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Service]]:
    """The three services with a token of each role."""
    folder = tmp_path_factory.mktemp("roles")
    database_url = stack.create_database("test_roles")
    lines = [
        f"  - {{name: {role}-ann, role: {role}, token_sha256: {hashlib.sha256(role.encode()).hexdigest()}}}"
        for role in ROLES
    ]
    (folder / "tokens.yaml").write_text("\n".join(["tokens:", *lines]))
    digest = hashlib.sha256(b"write-key").hexdigest()
    (folder / "sources.yaml").write_text(f"sources: [{{name: shop, kind: api, key_sha256: {digest}}}]")
    environment = {
        "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap,
        "TOUCHLINE_DATABASE_URL": database_url,
        "TOUCHLINE_TOPIC_PREFIX": "troles",
        "TOUCHLINE_PARTITIONS": "2",
        "TOUCHLINE_TOKENS_FILE": str(folder / "tokens.yaml"),
        "TOUCHLINE_SOURCES_FILE": str(folder / "sources.yaml"),
        "TOUCHLINE_CONSOLE_PUBLIC_KEYS": public_text(KEY),
    }
    commands = {
        "ingest": ("touchline-ingest", "serve"),
        "stage-engine": ("touchline-stage-engine", "run"),
        "notifier": ("touchline-notifier", "run"),
    }
    started = {
        name: Service(name, [command(program), verb], environment=environment, logs=folder).start()
        for name, (program, verb) in commands.items()
    }
    try:
        for service in started.values():
            service.wait_ready()
        yield started
    finally:
        for service in started.values():
            if service.is_running:
                service.terminate()
        stack.drop_database("test_roles")


def routes(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method in ("get", "post", "put", "delete", "patch") and path not in OPEN:
                yield method.upper(), path, operation


def presented(service: str) -> Iterator[tuple[str | None, str | None]]:
    """Tokens, and the role that each has; None: it is none."""
    yield None, None
    yield None, "wrong"
    yield None, ConsoleSigner(new_key()).token("olga@example.org", "operator", AUDIENCES[service])
    elsewhere = next(one for one in AUDIENCES.values() if one != AUDIENCES[service])
    yield None, ConsoleSigner(KEY).token("olga@example.org", "operator", elsewhere)
    for role in ROLES:
        yield role, role
        yield role, ConsoleSigner(KEY).token(f"{role}@example.org", role, AUDIENCES[service])


@pytest.mark.parametrize("name", list(PROVE_THEMSELVES))
def test_every_route_lets_every_role_do_what_it_may_and_nothing_else(services: dict[str, Service], name: str) -> None:
    with httpx.Client(base_url=services[name].url, timeout=60, trust_env=False) as client:
        document = client.get("/openapi.json", headers={"Authorization": "Bearer viewer"}).json()
        tried = 0
        for method, path, operation in routes(document):
            if PROVE_THEMSELVES[name].fullmatch(path):
                assert "x-touchline-role" not in operation, path
                continue
            role = needed(method, path)
            assert operation["x-touchline-role"] == role, (method, path)
            address = re.sub(r"\{[^}]+\}", "00000000-0000-0000-0000-000000000000", path)
            if path.endswith("/stream"):
                address += "?after=invalid"
            for has, token in presented(name):
                headers = {} if token is None else {"Authorization": f"Bearer {token}"}
                status = client.request(method, address, headers=headers).status_code
                if has is None:
                    assert status == 401, (method, path, token)
                elif ROLES.index(has) < ROLES.index(role):
                    assert status == 403, (method, path, token)
                else:
                    assert status not in (401, 403, 405), (method, path, token, status)
                    assert status < 500 or status == 503, (method, path, token, status)
                tried += 1
        assert tried >= 5 * 5
        # What a request says of itself changes nothing: the actor is the token's name.
        said = {"X-Touchline-Actor": "operator-ann", "X-Forwarded-User": "operator"}
        person = ConsoleSigner(KEY).token("vera@example.org", "viewer", AUDIENCES[name])
        for method, path, operation in routes(document):
            if operation.get("x-touchline-role") in ("editor", "operator"):
                address = re.sub(r"\{[^}]+\}", "x", path)
                for token in ("viewer", person):
                    forged = {"Authorization": f"Bearer {token}"} | said
                    assert client.request(method, address, headers=forged).status_code == 403, path


def test_what_an_operator_changes_in_the_notifier_is_recorded(services: dict[str, Service]) -> None:
    with httpx.Client(base_url=services["notifier"].url, timeout=60, trust_env=False) as client:
        operator = {"Authorization": "Bearer operator", "X-Request-Id": "ticket-17"}
        for sending, reason in ((False, "a wrong price"), (True, None)):
            assert client.put("/v1/sending", json={"sending": sending, "reason": reason}, headers=operator).is_success
        entries = client.get("/v1/audit", headers={"Authorization": "Bearer viewer"}).json()["items"]
        assert [(one["action"], one["actor"], one["reason"], one["request_id"]) for one in entries] == [
            ("sending_resumed", "operator-ann", None, "ticket-17"),
            ("sending_paused", "operator-ann", "a wrong price", "ticket-17"),
        ]
        assert (entries[1]["before"], entries[1]["after"]) == ({"sending": True}, {"sending": False})
        exported = client.get("/v1/audit?format=ndjson", headers=operator)
        assert len(exported.text.splitlines()) == 2
        first = client.get("/v1/audit?limit=1", headers=operator).json()
        second = client.get("/v1/audit", params={"limit": 1, "cursor": first["next"]}, headers=operator).json()
        assert [one["action"] for one in (*first["items"], *second["items"])] == ["sending_resumed", "sending_paused"]
        assert second["next"] is None
