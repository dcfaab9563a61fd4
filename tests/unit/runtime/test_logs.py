"""What a process writes while it waits for a server, and when something fails."""

import json
import subprocess
import sys

PROGRAM = """
import asyncio
from touchline_runtime import kafka, logs
from touchline_runtime.errors import Unavailable
from touchline_runtime.settings import ServiceSettings

async def main():
    settings = ServiceSettings(kafka_bootstrap_servers="127.0.0.1:1", startup_timeout_seconds=1.2)
    logs.configure("ingest", format="json")
    producer = kafka.producer(settings, "test")
    try:
        await kafka.start_patiently(producer, settings)
    except Unavailable as error:
        print(error)
    await producer.stop()

asyncio.run(main())
"""


def test_kafka_that_is_away_is_told_once_and_not_at_every_attempt() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    assert "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS" in ended.stdout
    told = [json.loads(line) for line in ended.stderr.splitlines() if line.startswith("{")]
    assert [one["event"] for one in told if one["event"] != "unknown_variable"] == ["waiting"], ended.stderr
    assert told[-1]["server"] == "Kafka at 127.0.0.1:1"
    assert told[-1]["gives_up_in_seconds"] == 1


CONSOLE = """
import structlog
from touchline_runtime import logs

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
