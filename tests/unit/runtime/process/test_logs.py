"""What a process writes while it waits for a server, and when something fails."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio
from touchline_runtime.kafka import clients as kafka
from touchline_runtime.process import logs
from touchline_runtime.errors import Unavailable
from touchline_runtime.config.settings import ServiceSettings

async def main():
    settings = ServiceSettings(kafka_bootstrap_servers="127.0.0.1:1", startup_timeout_seconds=1.2)
    logs.configure("ingest", format="json")
    producer = kafka.producer(settings, "test")
    try:
        await kafka.start_when_reachable(producer, settings)
    except Unavailable as error:
        print(error)
    await producer.stop()

asyncio.run(main())
"""


def test_kafka_that_is_away_is_told_once_and_not_at_every_attempt() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    assert "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS" in ended.stdout
    reported = [json.loads(line) for line in ended.stderr.splitlines() if line.startswith("{")]
    assert [one["event"] for one in reported if one["event"] != "unknown_variable"] == ["waiting"], ended.stderr
    assert reported[-1]["server"] == "Kafka at 127.0.0.1:1"
    assert reported[-1]["gives_up_in_seconds"] == 1


CONSOLE = """
import structlog
from touchline_runtime.process import logs

def fail(password="hunter2"):
    raise ValueError("boom")

logs.configure("ingest", format="console")
try:
    fail()
except ValueError:
    structlog.get_logger("a").exception("failed")
"""


def test_a_traceback_on_the_console_shows_no_variables_since_passwords_are_among_them() -> None:
    ended = subprocess.run([sys.executable, "-c", CONSOLE], capture_output=True, text=True, check=True, timeout=60)
    assert "ValueError" in ended.stderr
    assert "boom" in ended.stderr
    assert "hunter2" not in ended.stderr


ADDRESSES = """
import logging
import structlog
from touchline_runtime.process import logs

logs.configure("notifier", format={format!r})
log = structlog.get_logger("test")
log.warning("refused", error="550 <ada@example.org>: unknown", nested={{"to": ["Ada+News@Example.org"]}})
log.warning("refused", error="bounce+ada=40example.org@mx.example, ada%40example.org")
log.warning("refused", error="ada!x@example.org ada&co@example.org ada%2Bnews%40example.org ada+1@[10.0.0.1]")
log.warning("refused", error='550 "ada ada"@example.org is unknown' if {format!r} == "json" else "550 ada@example.org")
log.warning("refused", error="x" * 200_000)
logging.getLogger("a.library").warning("no such user: ada@example.org")
try:
    raise ValueError("Key (customer_id)=(email:ada@example.org) already exists.")
except ValueError:
    log.exception("failed")
"""


@pytest.mark.parametrize("format", ["json", "console"])
def test_no_log_line_contains_an_address(format: str) -> None:  # noqa: A002
    """Kind: words of a server or a library that repeat a person's address."""
    program = ADDRESSES.format(format=format)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stderr.count("<address>") >= 6, ended.stderr
    assert "ada" not in ended.stderr.lower(), ended.stderr
    assert "already exists" in ended.stderr
