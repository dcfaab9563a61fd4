"""The three services as an operator starts them, on the tests' stack."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from touchline_devstack.processes import Service, command
from touchline_devstack.receivers import WebhookReceiver
from touchline_devstack.stack import Stack

from tests.support.deployment import CALL, COMMANDS, ENDPOINTS, KEY, KIOSK, MOP, SECRET, SOURCES, Deployment


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    """A company system that verifies signatures with the standardwebhooks library."""
    with WebhookReceiver([SECRET]) as receiver:
        yield receiver


@pytest.fixture
async def deployment(
    stack: Stack, database_url: str, topic_prefix: str, tmp_path: Path, receiver: WebhookReceiver
) -> AsyncIterator[Deployment]:
    """Everything up and ready; stopped at the end."""
    for folder, files in {"lifecycles": {"kiosk": KIOSK}, "plays": {"call": CALL, "mop": MOP}}.items():
        (tmp_path / folder).mkdir()
        for name, text in files.items():
            (tmp_path / folder / f"{name}.yaml").write_text(text)
    (tmp_path / "sources.yaml").write_text(SOURCES.format(digest=hashlib.sha256(KEY.encode()).hexdigest()))
    (tmp_path / "endpoints.yaml").write_text(ENDPOINTS.format(url=receiver.url))
    environment = {
        "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap,
        "TOUCHLINE_DATABASE_URL": database_url,
        "TOUCHLINE_TOPIC_PREFIX": topic_prefix,
        "TOUCHLINE_PARTITIONS": "4",
        "TOUCHLINE_LIFECYCLES": "kiosk,service-cycle",
        "TOUCHLINE_LIFECYCLES_DIR": str(tmp_path / "lifecycles"),
        "TOUCHLINE_PLAYS_DIR": str(tmp_path / "plays"),
        "TOUCHLINE_SOURCES_FILE": str(tmp_path / "sources.yaml"),
        "TOUCHLINE_ENDPOINTS_FILE": str(tmp_path / "endpoints.yaml"),
        "TOUCHLINE_DELIVERY_ALLOWED_NETWORKS": "127.0.0.0/8",
        "TILL_SECRET": SECRET,
    }
    services = {
        name: Service(name, [command(program), *arguments], environment=environment, logs=tmp_path / "logs")
        for name, (program, *arguments) in COMMANDS.items()
    }
    with ExitStack() as running:
        for service in services.values():
            running.enter_context(service)
        for service in services.values():
            await asyncio.to_thread(service.wait_ready)
        async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
            yield Deployment(services, receiver, http, stack.kafka_bootstrap, topic_prefix, database_url)
