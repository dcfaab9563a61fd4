"""``touchline-ingest`` keys, import and dead-letters, as an operator runs them, beside a running service."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import orjson
import pytest
from touchline_devstack.processes import Service, command

from tests.support.waiting import wait_for

pytestmark = pytest.mark.stack

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> dict[str, str]:
    return {
        "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "TOUCHLINE_TOPIC_PREFIX": topic_prefix,
        "TOUCHLINE_PARTITIONS": "2",
        "TOUCHLINE_SOURCES_FILE": str(tmp_path / "sources.yaml"),
        "TOUCHLINE_SOURCES_RELOAD_SECONDS": "0.1",
        "COLUMNS": "200",
    }


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("TOUCHLINE_")}
        done = subprocess.run(
            [command("touchline-ingest"), *arguments],
            env=ours | environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def key(run: Run) -> str:
    found = re.search(r"key: (tl_\S+)", run("keys", "new", "shop").stdout)
    assert found
    return found[1]


@pytest.fixture
def service(environment: dict[str, str], key: str, tmp_path: Path) -> Iterator[Service]:
    with Service("ingest", [command("touchline-ingest"), "serve"], environment=environment, logs=tmp_path) as service:
        yield service.wait_ready()


def posted(service: Service, key: str, path: str = "/v1/touchpoints", **fields: object) -> int:
    touchpoint = {"type": "purchased", "customer_id": "c", "occurred_at": "2026-03-01T12:00:00Z"} | fields
    with httpx.Client(timeout=60, trust_env=False) as client:
        return client.post(service.url + path, json=touchpoint, headers={"authorization": f"Bearer {key}"}).status_code


def until_answered(status: int, service: Service, key: str) -> None:
    wait_for(lambda: posted(service, key) == status, f"it answers {status}")


def test_a_key_is_made_rotated_and_revoked_while_the_service_runs(run: Run, service: Service, key: str) -> None:
    assert posted(service, key) == 202
    found = re.search(r"key: (tl_\S+)", run("keys", "new", "shop", "--overlap", "1d").stdout)
    assert found
    until_answered(202, service, found[1])
    assert posted(service, key) == 202
    run("keys", "revoke", "shop", "--key", key)
    until_answered(401, service, key)
    assert posted(service, found[1]) == 202
    assert "only key" in run("keys", "revoke", "shop", "--key", found[1], code=2).stderr


def test_what_was_not_understood_is_listed_shown_and_replayed_by_choice(run: Run, service: Service, key: str) -> None:
    assert posted(service, key, "/v1/batch", batch=[{"type": "nonsense"}]) == 200
    good_and_bad = [
        {"type": "track", "event": "Order Completed", "userId": "u", "messageId": "m"},
        {"type": "nonsense"},
    ]
    assert posted(service, key, "/v1/batch", batch=good_and_bad) == 200
    listed = [json.loads(line) for line in run("dead-letters", "list", "--json").stdout.splitlines()]
    assert [letter["reason"] for letter in listed] == ["not_understood"] * 2
    assert run("dead-letters", "list", "--source", "nobody").stdout.strip().endswith("0 dead letters")
    (mixed,) = [letter["id"] for letter in listed if letter["error"].startswith("1:")]
    shown = orjson.loads(run("dead-letters", "show", mixed, "--raw").stdout)
    assert shown["batch"] == good_and_bad
    assert key not in run("dead-letters", "show", mixed).stdout

    assert "would" not in run("dead-letters", "replay", mixed, "--dry-run").stdout
    replayed = run("dead-letters", "replay", mixed).stdout
    assert "1 touchpoints" in replayed
    (other,) = [letter["id"] for letter in listed if letter["id"] != mixed]
    assert "not replayed" in run("dead-letters", "replay", other, code=1).stdout
    assert "say which" in run("dead-letters", "replay", code=2).stderr
    assert "nothing was replayed" in run("dead-letters", "replay", mixed, "9/9", code=2).stderr


def test_history_is_tried_imported_and_not_doubled(run: Run, key: str, tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text("customer;when;total\nc1;01.02.2024;5\nc2;soon;7\nc3;03.02.2024;9\n")
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text(
        "fields:\n  customer_id: customer\n  type: {value: purchased}\n"
        "  occurred_at: {column: when, format: '%d.%m.%Y', zone: Europe/Berlin}\n"
        "properties:\n  amount: {column: total, as: number}\n"
    )
    arguments = ("import", str(file), "--source", "shop-history", "--mapping", str(mapping))
    tried = run(*arguments, "--dry-run", code=1).stderr
    assert "2 would be accepted, 1 rejected" in tried
    assert "line 3: column when" in tried
    assert "2 accepted, 1 rejected" in run(*arguments, code=1).stderr
    assert "nothing is left to import" in run(*arguments, code=1).stderr


def test_without_a_sources_file_it_does_not_start_and_says_why(run: Run, environment: dict[str, str]) -> None:
    del environment["TOUCHLINE_SOURCES_FILE"]
    assert "touchline-ingest keys new" in run("serve", code=2).stderr


def test_a_bad_sources_file_is_explained_line_by_line_at_the_start(run: Run, environment: dict[str, str]) -> None:
    Path(environment["TOUCHLINE_SOURCES_FILE"]).write_text("sources:\n  - {name: a, kind: sengrid}\n")
    message = run("serve", code=2).stderr
    assert "did you mean sendgrid" in message
    assert "Traceback" not in message


def test_a_port_in_use_is_explained(run: Run, service: Service) -> None:
    assert "is in use" in run("serve", "--port", str(service.port), code=2).stderr


def test_another_count_of_partitions_is_explained(run: Run, service: Service, environment: dict[str, str]) -> None:
    environment["TOUCHLINE_PARTITIONS"] = "5"
    assert "set TOUCHLINE_PARTITIONS=2" in run("serve", code=2).stderr.replace("\n", " ")
