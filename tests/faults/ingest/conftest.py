"""One ingest process on the tests' Kafka."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from touchline_devstack.processes import Service, command
from touchline_devstack.stack import Stack

from tests.support.ingest.poster import KEY, PARTITIONS
from tests.support.ingest.route_load import HOOKS_SECRET


@pytest.fixture
def ingest_service(
    stack: Stack, topic_prefix: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Service]:
    """Not started. A test may add to its environment (indirect parameters)."""
    sources = tmp_path / "sources.yaml"
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    hooks = f"  - {{name: hooks, kind: standard-webhooks, secret: {{value: {HOOKS_SECRET}}}}}\n"
    sources.write_text(f'sources:\n  - {{name: load, kind: api, key_sha256: "{digest}"}}\n{hooks}')
    environment = {
        "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap,
        "TOUCHLINE_TOPIC_PREFIX": topic_prefix,
        "TOUCHLINE_PARTITIONS": str(PARTITIONS),
        "TOUCHLINE_SOURCES_FILE": str(sources),
        "TOUCHLINE_ACK_TIMEOUT_SECONDS": "2",
    } | getattr(request, "param", {})
    service = Service("ingest", [command("touchline-ingest"), "serve"], environment=environment, logs=tmp_path)
    try:
        yield service
    finally:
        if service.is_running:
            service.kill()
