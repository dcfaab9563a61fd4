"""Kind: SIGTERM while a service waits for a server at its start. It ends within two seconds, with exit code 0."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from touchline_devstack.processes import command
from touchline_devstack.stack import Stack

from tests.support.ports import free_port
from tests.support.service_commands import SERVICE_COMMANDS
from tests.support.waiting import patience, wait_until

pytestmark = pytest.mark.stack


@pytest.fixture
async def silent_port() -> AsyncIterator[int]:
    """A port that accepts connections and never answers."""
    held: list[asyncio.StreamWriter] = []

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for writer in held:
        writer.close()


def started(service: str, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    name, *arguments = SERVICE_COMMANDS[service]
    with log.open("wb") as output:
        return subprocess.Popen([command(name), *arguments], env=environment, stdout=output, stderr=subprocess.STDOUT)


@pytest.mark.parametrize(
    ("service", "how", "unreachable"),
    [
        (service, how, unreachable)
        for service in SERVICE_COMMANDS
        for how in ("silent", "refusing")
        for unreachable in ("kafka", "postgresql")
        # Ingest uses no database, the console neither server.
        if service != "console" and (service, unreachable) != ("ingest", "postgresql")
    ],
)
async def test_a_service_that_waits_for_a_server_ends_within_two_seconds(
    stack: Stack, database_url: str, topic_prefix: str, tmp_path: Path, silent_port: int, service: str, how: str,
    unreachable: str,
) -> None:  # fmt: skip
    port = silent_port if how == "silent" else free_port()
    sources = tmp_path / "sources.yaml"
    sources.write_text(f"sources:\n  - {{name: shop, kind: api, key_sha256: '{'0' * 64}'}}\n")
    plays = tmp_path / "plays"
    plays.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOUCHLINE_")} | {
        "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}" if unreachable == "kafka" else stack.kafka_bootstrap,
        "TOUCHLINE_DATABASE_URL": database_url,
        "TOUCHLINE_TOPIC_PREFIX": topic_prefix,
        "TOUCHLINE_SOURCES_FILE": str(sources),
        "TOUCHLINE_PLAYS_DIR": str(plays),
        "TOUCHLINE_HTTP_PORT": str(free_port()),
        "TOUCHLINE_PARTITIONS": "2",
    }
    if unreachable == "postgresql":
        environment["TOUCHLINE_DATABASE_URL"] = f"postgresql://touchline:secret@127.0.0.1:{port}/touchline"
    log = tmp_path / "log"
    process = started(service, environment, log)
    try:
        await wait_until(lambda: log.stat().st_size > 0 or process.poll() is not None, "it logs something")
        await asyncio.sleep(1)
        assert process.poll() is None, log.read_text()
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(process.wait, 90)
        took = time.monotonic() - began
        # Two seconds; on a slow machine a little longer, but less than any attempt to connect takes: five.
        assert took < min(2 * patience(), 4.5), f"{took:.1f} s; {log.read_text()}"
        assert code == 0, log.read_text()
        assert "Traceback" not in log.read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
