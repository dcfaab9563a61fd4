"""Wrong addresses of brokers, of every kind that can be judged at start: an error at once, with what to write."""

import asyncio
import contextlib
import time

import pytest
from structlog.testing import capture_logs
from touchline_runtime.config.settings import ServiceSettings, read_settings
from touchline_runtime.errors import ConfigurationError, Unavailable
from touchline_runtime.kafka import clients as kafka
from touchline_runtime.kafka.shutdown import unless_stopping


@pytest.mark.parametrize(
    "address",
    ["http://kafka:9092", "kafka://broker", "broker:port", "broker:0", "broker:70000", "a b:9092", ":9092",
     "good:9092,https://bad:9092", "broker:9092/topic", "user@broker:9092", "::1:9092", "[::1:9092", "::1]:9092",
     "[]:9092", "[broker]:9092", "[::1]9092", "a:b:9092", "broker:", "broker:\uff19\uff10"],
)  # fmt: skip
def test_an_address_that_can_not_be_one_is_refused_with_its_name(address: str) -> None:
    with pytest.raises(ConfigurationError, match="TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS"):
        read_settings(ServiceSettings, kafka_bootstrap_servers=address)


@pytest.mark.parametrize(
    ("address", "pairs"),
    [
        ("broker:9093", [("broker", 9093)]),
        ("a:9092, b:9093", [("a", 9092), ("b", 9093)]),
        ("[::1]:9094", [("::1", 9094)]),
        ("10.0.0.1:9092", [("10.0.0.1", 9092)]),
        ("broker", [("broker", 9092)]),
        ("[::1]", [("::1", 9092)]),
    ],
)
def test_an_address_that_can_be_one_is_taken(address: str, pairs: list[tuple[str, int]]) -> None:
    assert kafka.addresses(read_settings(ServiceSettings, kafka_bootstrap_servers=address)) == pairs


def test_names_that_do_not_resolve_end_the_start_within_seconds() -> None:
    settings = ServiceSettings(kafka_bootstrap_servers="nosuch.invalid:9092,neither.invalid:9092")
    began = time.monotonic()
    with pytest.raises(ConfigurationError, match=r"neither\.invalid"):
        asyncio.run(kafka.start_when_reachable(object(), settings))
    assert time.monotonic() - began < 45, "the start's own limit is 60 s"


def test_waiting_for_a_server_ends_when_the_process_stops() -> None:
    async def scenario() -> float:
        stopping = asyncio.Event()
        asyncio.get_running_loop().call_later(0.1, stopping.set)
        began = time.monotonic()
        assert await unless_stopping(asyncio.sleep(60, "connected"), stopping) is None
        return time.monotonic() - began

    assert asyncio.run(scenario()) < 30


async def _silently(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(3600)
    writer.close()


async def _connect(client: str, settings: ServiceSettings) -> None:
    if client == "admin":
        async with kafka.Admin(settings, "test"):
            return
    producer = kafka.producer(settings, "test")
    try:
        await kafka.start_when_reachable(producer, settings)
    finally:
        await producer.stop()


@pytest.mark.parametrize("client", ["admin", "producer"])
async def test_a_port_that_accepts_and_never_answers_is_reported_and_given_up_in_time(client: str) -> None:
    async with await asyncio.start_server(_silently, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        settings = ServiceSettings(kafka_bootstrap_servers=f"127.0.0.1:{port}", startup_timeout_seconds=5)
        began = time.monotonic()
        with capture_logs() as logs, pytest.raises(Unavailable, match="no Kafka broker answered"):
            await _connect(client, settings)
        assert time.monotonic() - began < 38, "aiokafka alone waits for 40 s"
    assert "no broker answers" in next(entry["error"] for entry in logs if entry["event"] == "waiting")
