"""Kind: the database refuses what a service asks: its user has lost its rights, or its tables are not there.

Every route that reads is asked, in every service with a database. None answers 500, and each says what to do."""

import re
import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest
from touchline_devstack.probes import query
from touchline_devstack.processes import Service, command
from touchline_devstack.stack import Stack

from tests.support.waiting import wait_for

pytestmark = pytest.mark.stack

SERVICES = ("touchline-stage-engine", "touchline-notifier")
REFUSE = {
    "rights on tables": "REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role}",
    "rights on the schema": "REVOKE ALL ON SCHEMA {schema} FROM {role}",
    "the tables": "ALTER SCHEMA {schema} RENAME TO elsewhere",
}
GRANT = {
    "rights on tables": "GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {role}",
    "rights on the schema": "GRANT ALL ON SCHEMA {schema} TO {role}",
    "the tables": "ALTER SCHEMA elsewhere RENAME TO {schema}",
}
NO_DATABASE = {"/healthz", "/readyz", "/metrics", "/v1/stage-changes/stream"}
"""Routes that answer without the database, or report it in a form of their own."""
LEAKED = re.compile(r"permission denied|does not exist|SELECT|relation|127\.0\.0\.1|asyncpg|\w+Error", re.IGNORECASE)


class Refusing:
    """A deployment whose database user is not the owner of the server."""

    def __init__(self, admin_url: str, role: str, database: str) -> None:
        self._admin_url = admin_url
        self._names = {"role": f'"{role}"', "database": f'"{database}"'}

    def does(self, statement: str, schema: str = "") -> None:
        """Run a statement as the server's owner."""
        query(self._admin_url, statement.format(**self._names, schema=f'"{schema}"'), timeout=60)


@pytest.fixture(params=SERVICES)
def asked(
    request: pytest.FixtureRequest, stack: Stack, database_url: str, topic_prefix: str, tmp_path: Any
) -> Iterator[tuple[Service, Refusing, str]]:
    """A running service, its database, and the schema of its tables."""
    role, password = f"touchline_{secrets.token_hex(4)}", secrets.token_hex(8)
    parts = urlsplit(database_url)
    refusing = Refusing(database_url, role, parts.path[1:])
    refusing.does(f"CREATE ROLE {{role}} LOGIN PASSWORD '{password}'")
    refusing.does("GRANT CREATE, CONNECT ON DATABASE {database} TO {role}")
    plays = tmp_path / "plays"
    plays.mkdir()
    (plays / "calls.yaml").write_text(
        "play: calls\nwhen: {fact: customer-stalled, lifecycle: service-cycle}\n"
        'action: {channel: webhook, endpoint: crm, body: "{{ customer_id }}"}\n'
    )
    (tmp_path / "endpoints.yaml").write_text(
        "endpoints: [{name: crm, url: 'https://crm.example.org/hook', secret: {env: CRM_SECRET}}]\n"
    )
    environment = {
        "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap,
        "TOUCHLINE_DATABASE_URL": urlunsplit(parts._replace(netloc=f"{role}:{password}@{parts.hostname}:{parts.port}")),
        "TOUCHLINE_TOPIC_PREFIX": topic_prefix,
        "TOUCHLINE_PARTITIONS": "2",
        "TOUCHLINE_LIFECYCLES": "service-cycle",
        "TOUCHLINE_PLAYS_DIR": str(plays),
        "TOUCHLINE_ENDPOINTS_FILE": str(tmp_path / "endpoints.yaml"),
        "TOUCHLINE_LIFECYCLES_WAIT_SECONDS": "0.1",
        "CRM_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    }
    try:
        with Service("service", [command(request.param), "serve"], environment=environment, logs=tmp_path) as service:
            service.wait_ready()
            schemas = query(
                database_url, f"SELECT nspname FROM pg_namespace WHERE nspowner = '{role}'::regrole", timeout=60
            )
            yield service, refusing, schemas
    finally:
        stack.drop_database(parts.path[1:])
        query(stack.database_url, f'DROP ROLE "{role}"', timeout=60)


def example(schema: dict[str, Any], components: dict[str, Any]) -> str:
    """A value that passes a parameter's checks, so that the request reaches the database."""
    if "$ref" in schema:
        schema = components[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        schema = schema["anyOf"][0]
    if "enum" in schema:
        return str(schema["enum"][0])
    if schema.get("type") == "integer":
        return str(schema.get("minimum", 1))
    formats = {"uuid": "00000000-0000-4000-8000-000000000000", "date-time": "2026-01-01T00:00:00Z"}
    return formats.get(schema.get("format", ""), "service-cycle")


def reads(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, str], bool]]:
    """Every GET route, in each of its formats: a name, a path and a query to ask, and whether customers see it."""
    components = document.get("components", {}).get("schemas", {})
    for path, methods in document["paths"].items():
        if "get" not in methods or path in NO_DATABASE:
            continue
        parameters = {(one["in"], one["name"]): one for one in methods["get"].get("parameters", [])}
        values = {
            name: example(one["schema"], components) for (where, name), one in parameters.items() if where == "path"
        }
        asked = {
            name: example(one["schema"], components)
            for (where, name), one in parameters.items()
            if where == "query" and one.get("required")
        }
        page = path.startswith(("/v1/unsubscribe/", "/v1/mail/"))
        address = path.format_map(values)
        yield path, address, asked, page
        if (several := parameters.get(("query", "format"))) is not None:
            for form in several["schema"]["enum"]:
                yield f"{path} as {form}", address, asked | {"format": form}, page


def test_no_route_that_reads_answers_with_an_error_of_ours(asked: tuple[Service, Refusing, str]) -> None:
    service, refusing, schema = asked
    with httpx.Client(base_url=service.url, timeout=60, trust_env=False) as client:
        routes = list(reads(client.get("/openapi.json").json()))
        before = {path: client.get(address, params=query).status_code for path, address, query, _ in routes}
        assert all(status < 500 for status in before.values()), before
        for lost, statement in REFUSE.items():
            refusing.does(statement, schema)
            answers = {path: (client.get(address, params=query), page) for path, address, query, page in routes}
            refused = set()
            for path, (answer, page) in answers.items():
                if answer.status_code != 503:
                    assert answer.status_code == before[path], (lost, path, answer.text)
                    continue
                refused.add(path)
                assert "retry-after" in answer.headers, (lost, path)
                if page:
                    continue
                assert answer.headers["content-type"] == "application/problem+json", (lost, path)
                problem = answer.json()
                assert problem["type"] == "/problems/database-refuses", (lost, path, problem)
                assert "migrate" in problem["detail"], (lost, path, problem)
                assert "rights" in problem["detail"], (lost, path, problem)
                assert not LEAKED.search(answer.text), (lost, path, problem)
            # The rest answers from memory, or from Kafka.
            assert len(refused) >= 0.6 * len(routes), (lost, set(before) - refused)
            ready = client.get("/readyz")
            assert ready.status_code == 503, lost
            assert "migrate" in ready.text, (lost, ready.text)
            refusing.does(GRANT[lost], schema)
            wait_for(lambda: client.get("/readyz").status_code == 200, "it is ready again", 120)
            again = {path: client.get(address, params=query).status_code for path, address, query, _ in routes}
            assert again == before, lost
