"""50,000 customers who all name one e-mail address, in three orders, against as many who name nothing beside their id.

Each customer has one touchpoint. The rate counts until every touchpoint is folded, every record is published, and
every link has reached the owner of the address. Memory is the engine's peak. ``max stall`` is the longest that the
engine took to answer ``/healthz``.
"""

import asyncio
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import orjson
import psutil
from aiokafka import AIOKafkaProducer
from rich.console import Console
from touchline_devstack.processes import Service, command
from touchline_devstack.settings import DevstackSettings
from touchline_devstack.stack import Stack
from touchline_runtime.config.settings import ServiceSettings, read_settings
from touchline_runtime.kafka.clients import Admin, WantedTopic
from touchline_schemas.topics import TOUCHPOINTS

from bench import workload

PARTITIONS = 8
ADDRESS = "none@example.org"
START = datetime(2026, 1, 1, tzinfo=UTC)
TIMEOUT_SECONDS = 240
ORDERS: dict[str, Callable[[list[int]], None] | None] = {
    "no address": None,
    "newest first": lambda numbers: numbers.reverse(),
    "oldest first": lambda numbers: None,
    "in no order": random.Random(1).shuffle,
}
console = Console()


def run(*, quick: bool) -> dict[str, Any]:
    """Run every order; figures by name."""
    count = 5_000 if quick else 50_000
    figures: dict[str, Any] = {"customers": count}
    with tempfile.TemporaryDirectory(prefix="touchline-bench-") as folder:
        stack = Stack(replace(DevstackSettings.from_environment(), folder=Path(folder) / "stack"))
        stack.up()
        try:
            for name in ORDERS:
                for what, value in asyncio.run(_measure(stack, Path(folder) / "logs", name, count)).items():
                    figures[f"{name}: {what}"] = value
                    console.print(f"{name}: {what} {value:,.0f}", highlight=False)
        finally:
            stack.down()
    return figures


def _records(name: str, count: int) -> list[tuple[str, bytes]]:
    numbers = list(range(count))
    order = ORDERS[name]
    if order is not None:
        order(numbers)
    made = []
    for number in numbers:
        customer = f"c-{number:06d}"
        at = (START + timedelta(seconds=number)).isoformat().replace("+00:00", "Z")
        data = {
            "id": f"t-{number}", "type": "signed_up", "channel": "web", "direction": "inbound",
            "customer_id": customer, "occurred_at": at, "received_at": at, "source": "crm", "properties": {},
        }  # fmt: skip
        if order is not None:
            data["email"] = ADDRESS
        made.append((customer, orjson.dumps(data)))
    return made


async def _measure(stack: Stack, logs: Path, name: str, count: int) -> dict[str, float]:
    prefix = f"shared{list(ORDERS).index(name)}"
    topic = TOUCHPOINTS.full_name(prefix)
    settings = read_settings(ServiceSettings, kafka_bootstrap_servers=stack.kafka_bootstrap, topic_prefix=prefix)
    async with Admin(settings, "bench") as admin:
        await admin.ensure_topics([WantedTopic(topic, PARTITIONS, {})])
    producer = AIOKafkaProducer(bootstrap_servers=stack.kafka_bootstrap, enable_idempotence=True, linger_ms=20)
    async with producer:
        waiting = [
            await producer.send(
                topic, value, customer.encode(), partition=workload.partition(customer, PARTITIONS),
                headers=workload.headers_of(customer, value),
            )
            for customer, value in _records(name, count)
        ]  # fmt: skip
        await asyncio.gather(*waiting)
    database = stack.create_database(f"bench_{prefix}")
    environment = stack.env() | {
        "TOUCHLINE_DATABASE_URL": database,
        "TOUCHLINE_TOPIC_PREFIX": prefix,
        "TOUCHLINE_LIFECYCLES": "service-cycle",
        "TOUCHLINE_LOG_FORMAT": "json",
    }
    engine = Service(prefix, [command("touchline-stage-engine"), "run"], environment=environment, logs=logs)
    with engine:
        began = time.perf_counter()
        engine.wait_ready()
        connection = await asyncpg.connect(database)
        try:
            return await _watch(connection, engine, prefix, count, ORDERS[name] is not None, began)
        finally:
            await connection.close()


async def _watch(
    connection: asyncpg.Connection, engine: Service, prefix: str, count: int, linked: bool, began: float
) -> dict[str, float]:
    schema = f"stage_engine_{prefix}"
    progress = f"SELECT coalesce(sum(folded), 0), coalesce(sum(identity_offset), 0) FROM {schema}.partitions"
    settled = f"SELECT count(*) FROM {schema}.links WHERE key = 'email:{ADDRESS}'"
    process = psutil.Process(engine.pid)
    first: tuple[float, int] | None = None
    peak, stall, deadline, spent_before = 0, 0.0, time.monotonic() + TIMEOUT_SECONDS, 0.0
    async with httpx.AsyncClient(timeout=30) as client:
        while True:
            asked = time.perf_counter()
            await client.get(f"{engine.url}/healthz")
            now = time.perf_counter()
            if first is not None:
                stall = max(stall, now - asked)
            peak = max(peak, process.memory_info().rss)
            row = await connection.fetchrow(progress)
            assert row is not None
            folded, messages = map(int, row)
            if first is None and folded:
                first, spent_before = (now, folded), _processor_seconds(process)
            done = folded >= count and first is not None
            done = done and (not linked or int(await connection.fetchval(settled)) >= count)
            if done and not await _waiting_to_be_published(client, engine):
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"{folded} of {count} folded in {TIMEOUT_SECONDS} s")
            await asyncio.sleep(0.05)
    assert first is not None, "something was folded"
    spent = time.perf_counter() - first[0]
    left = count - first[1]
    return {
        "touchpoints/s": left / spent if left else count / (time.perf_counter() - began),
        "processor time of the engine for a touchpoint, µs": (
            1e6 * (_processor_seconds(process) - spent_before) / max(1, left)
        ),
        "seconds until settled": time.perf_counter() - began,
        "identity messages": messages,
        "peak MiB": peak / (1 << 20),
        "max stall, ms": 1000 * stall,
    }


async def _waiting_to_be_published(client: httpx.AsyncClient, engine: Service) -> float:
    lines = (await client.get(f"{engine.url}/metrics")).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("touchline_outbox_waiting_records"))


def _processor_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
