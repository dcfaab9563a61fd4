"""Kind: a signal to a service that has started. It finishes what it accepted, and its exit code is 0."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import httpx
import pytest
from touchline_devstack.processes import Service, command
from touchline_devstack.stack import Stack

from tests.support.service_commands import SERVICE_COMMANDS
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("service", SERVICE_COMMANDS)
async def test_a_service_that_is_told_to_stop_exits_with_code_0(
    stack: Stack, database_url: str, topic_prefix: str, tmp_path: Path, service: str, number: signal.Signals
) -> None:
    sources = tmp_path / "sources.yaml"
    sources.write_text(f"sources:\n  - {{name: shop, kind: api, key_sha256: '{'0' * 64}'}}\n")
    plays = tmp_path / "plays"
    plays.mkdir()
    environment = stack.env() | {
        "TOUCHLINE_DATABASE_URL": database_url,
        "TOUCHLINE_TOPIC_PREFIX": topic_prefix,
        "TOUCHLINE_SOURCES_FILE": str(sources),
        "TOUCHLINE_PLAYS_DIR": str(plays),
        "TOUCHLINE_PARTITIONS": "2",
    }
    name, *arguments = SERVICE_COMMANDS[service]
    running = Service("service", [command(name), *arguments], environment=environment, logs=tmp_path)
    with running:
        async with httpx.AsyncClient(timeout=60, base_url=running.url, trust_env=False) as client:

            async def answers() -> bool:
                assert running.is_running, running.log_text()
                with contextlib.suppress(httpx.TransportError):
                    # The console is not ready without the other services.
                    return (await client.get("/healthz" if service == "console" else "/readyz")).is_success
                return False

            await wait_until(answers, "it has started")
        os.kill(running.pid, number)
        assert await asyncio.to_thread(running.wait_ended) == 0, running.log_text()
