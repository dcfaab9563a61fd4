"""The stage engine folding a pre-loaded topic on the real stack, storing every touchpoint, against two floors.

400,000 touchpoints of 20,000 customers on 8 partitions, about 300 bytes of JSON each, skewed keys, 1 % duplicates.
Floors: a bare consumer that only decodes the JSON, and a bare COPY of the same rows into PostgreSQL. Where Java and
Maven are there, Kafka Streams folds the same topic in the same run. Then one lifecycle at 2,000,000 touchpoints of
300,000 customers.
"""

import asyncio
import contextlib
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from touchline_devstack.processes import Service, command
from touchline_devstack.settings import DevstackSettings
from touchline_devstack.stack import Stack
from touchline_runtime.config.settings import ServiceSettings, read_settings
from touchline_runtime.kafka.clients import Admin, WantedTopic
from touchline_schemas.times import parse_micros
from touchline_schemas.topics import STAGE_CHANGES, TOUCHPOINTS

from bench import kafka_streams, workload

PARTITIONS = 8
_TICK = 0.01
_DEADLINE_SECONDS = 900.0
_WARM = 100_000
SIX = "reach-to-loyalty,courtship,focus-cycle,journey,experience,service-cycle"
console = Console()


@dataclass(frozen=True)
class Load:
    """What waits on a topic of its own."""

    prefix: str
    touchpoints: int
    customers: int

    @property
    def topic(self) -> str:
        """The topic's name."""
        return TOUCHPOINTS.full_name(self.prefix)


ONE_PROCESS = ("one lifecycle, one process", "service-cycle", 1)
TWO_PROCESSES = ("one lifecycle, two processes", "service-cycle", 2)
SIX_LIFECYCLES = ("six lifecycles, one process", SIX, 1)


def run(*, quick: bool) -> dict[str, Any]:
    """Run everything; figures by name."""
    small = Load("bench", 40_000, 2_000) if quick else Load("bench", 400_000, 20_000)
    with tempfile.TemporaryDirectory(prefix="touchline-bench-") as folder:
        stack = Stack(replace(DevstackSettings.from_environment(), folder=Path(folder) / "stack"))
        stack.up()
        try:
            logs = Path(folder) / "logs"
            figures = _throughput(stack, logs, small, ONE_PROCESS, TWO_PROCESSES, SIX_LIFECYCLES)
            half = figures["one lifecycle, one process, /s"] / 2
            figures |= asyncio.run(_latency(stack, logs, half, seconds=5 if quick else 20))
            if not quick:
                large = _throughput(stack, logs, Load("benchlarge", 2_000_000, 300_000), ONE_PROCESS, TWO_PROCESSES)
                figures |= {f"large: {name}": value for name, value in large.items()}
        finally:
            stack.down()
    return figures


def _throughput(stack: Stack, logs: Path, load: Load, *variants: tuple[str, str, int]) -> dict[str, Any]:
    """The rates at one size, in a table beside the floors."""
    figures: dict[str, Any] = {"touchpoints": load.touchpoints, "customers": load.customers}
    asyncio.run(_load(stack, load))
    figures["floor: consume and decode, /s"] = asyncio.run(_decode_floor(stack, load))
    figures["floor: COPY, rows/s"] = asyncio.run(_copy_floor(stack, load))
    for name, lifecycles, workers in variants:
        found = asyncio.run(_fold(stack, logs, name, load, lifecycles, workers))
        figures |= {f"{name}, {what}": value for what, value in found.items()}
        console.print(f"{name}: {found['/s']:,.0f}/s, {found['MiB resident']:,.0f} MiB", highlight=False)
    figures |= _kafka_streams(stack, load)
    table = Table("figure", "value", "of the decoding floor")
    floor = figures["floor: consume and decode, /s"]
    for name, value in figures.items():
        table.add_row(name, f"{value:,.1f}", f"{value / floor:.2f}" if name.endswith("/s") else "")
    console.print(table)
    return figures


def _settings(stack: Stack, prefix: str) -> ServiceSettings:
    return read_settings(ServiceSettings, kafka_bootstrap_servers=stack.kafka_bootstrap, topic_prefix=prefix)


async def _load(stack: Stack, load: Load) -> None:
    async with Admin(_settings(stack, load.prefix), "bench") as admin:
        await admin.ensure_topics([WantedTopic(load.topic, PARTITIONS, {})])
    producer = AIOKafkaProducer(
        bootstrap_servers=stack.kafka_bootstrap, enable_idempotence=True, linger_ms=20, max_batch_size=256 * 1024
    )
    async with producer:
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("loading the topic", total=load.touchpoints)
            waiting: list[Any] = []
            for customer, value in workload.touchpoints(load.touchpoints, load.customers):
                waiting.append(
                    await producer.send(
                        load.topic,
                        value,
                        customer.encode(),
                        partition=workload.partition(customer, PARTITIONS),
                        headers=workload.headers_of(customer, value),
                    )
                )
                if len(waiting) == 5000:
                    await asyncio.gather(*waiting)
                    progress.advance(task, len(waiting))
                    waiting = []
            await asyncio.gather(*waiting)


async def _decode_floor(stack: Stack, load: Load) -> float:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=stack.kafka_bootstrap, auto_offset_reset="earliest", max_partition_fetch_bytes=4 << 20
    )
    async with consumer:
        consumer.assign([TopicPartition(load.topic, number) for number in range(PARTITIONS)])
        began, seen = time.perf_counter(), 0
        while seen < load.touchpoints:
            for records in (await consumer.getmany(timeout_ms=1000, max_records=10_000)).values():
                for record in records:
                    orjson.loads(record.value)
                seen += len(records)
        return load.touchpoints / (time.perf_counter() - began)


async def _copy_floor(stack: Stack, load: Load) -> float:
    rows = []
    for customer, value in workload.touchpoints(load.touchpoints, load.customers):
        data = orjson.loads(value)
        rows.append((customer, parse_micros(data["occurred_at"]), data["id"], data["source"], data["type"], value))
    connection = await asyncpg.connect(stack.create_database("bench_copy"))
    try:
        await connection.execute(
            'CREATE TABLE rows (customer_id text COLLATE "C", occurred_at bigint, id text, source text, type text, '
            "body bytea); CREATE INDEX ON rows (customer_id, occurred_at)"
        )
        began = time.perf_counter()
        for start in range(0, load.touchpoints, 10_000):
            await connection.copy_records_to_table("rows", records=rows[start : start + 10_000])
        return load.touchpoints / (time.perf_counter() - began)
    finally:
        await connection.close()
        stack.drop_database("bench_copy")


def _kafka_streams(stack: Stack, load: Load) -> dict[str, float]:
    """The same load on Kafka Streams; nothing, with a line that says why, where it cannot run."""
    if (lacks := kafka_streams.missing()) is not None:
        console.print(f"no comparison with Kafka Streams, only with the floors: {lacks}", highlight=False)
        return {}
    try:
        class_path = kafka_streams.build(stack.settings.cache / "bench-kafka-streams")
    except (subprocess.SubprocessError, OSError) as error:
        console.print(f"no comparison with Kafka Streams, only with the floors: {error}", highlight=False)
        return {}
    return asyncio.run(
        kafka_streams.measure(_settings(stack, load.prefix), class_path, load.topic, PARTITIONS, load.touchpoints)
    )


async def _fold(stack: Stack, logs: Path, name: str, load: Load, lifecycles: str, workers: int) -> dict[str, float]:
    """Touchpoints a second from the first seen progress to the last record, processor time, and resident memory."""
    database = stack.create_database("bench_fold")
    arguments = [command("touchline-stage-engine"), "run", *(["--workers", str(workers)] if workers > 1 else [])]
    engine = Service(
        name.replace(" ", "-"), arguments, environment=_environment(stack, database, lifecycles, load.prefix), logs=logs
    )
    try:
        with engine:
            engine.wait_ready()
            process = psutil.Process(engine.pid)
            before = _processor_seconds(stack, process)
            connection = await asyncpg.connect(database)
            try:
                rate = await _watch(connection, load.touchpoints, load.prefix)
            finally:
                await connection.close()
            after = _processor_seconds(stack, process)
            memory = sum(one.memory_info().rss for one in [process, *process.children(recursive=True)])
            spent = {f"µs of {part}": 1e6 * (after[part] - before[part]) / load.touchpoints for part in before}
            return {"/s": rate, "MiB resident": memory / (1 << 20), **spent}
    finally:
        stack.drop_database("bench_fold")


def _processor_seconds(stack: Stack, engine: psutil.Process) -> dict[str, float]:
    """Processor time so far of the engine's processes and of the servers that run on this machine."""
    pids = {"engine": engine.pid} | {part.title: part.pid for part in stack.status() if part.pid is not None}
    spent = {}
    for part, pid in pids.items():
        process = psutil.Process(pid)
        times = [process.cpu_times()]
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                times.append(child.cpu_times())
        # Of children that have ended, too: PostgreSQL's backends.
        ended = times[0].children_user + times[0].children_system
        spent[part] = ended + sum(one.user + one.system for one in times)
    return spent


def _environment(stack: Stack, database: str, lifecycles: str, prefix: str) -> dict[str, str]:
    return stack.env() | {
        "TOUCHLINE_DATABASE_URL": database,
        "TOUCHLINE_TOPIC_PREFIX": prefix,
        "TOUCHLINE_LIFECYCLES": lifecycles,
        "TOUCHLINE_LOG_FORMAT": "json",
    }


async def _watch(connection: asyncpg.Connection, count: int, prefix: str) -> float:
    query = f"SELECT coalesce(sum(folded + duplicates), 0) FROM stage_engine_{prefix}.partitions"
    first: tuple[float, int] | None = None
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("folding", total=count)
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while True:
            done = int(await connection.fetchval(query))
            progress.update(task, completed=done)
            if first is None and done:
                first = (time.perf_counter(), done)
            if done >= count and first is not None:
                return (done - first[1]) / (time.perf_counter() - first[0])
            if time.monotonic() > deadline:
                raise TimeoutError(f"{done} of {count} folded in {_DEADLINE_SECONDS:.0f} s")
            await asyncio.sleep(0.05)


async def _latency(stack: Stack, logs: Path, rate: float, seconds: int) -> dict[str, float]:
    """Milliseconds from sending a record to reading its move, read_committed, at a steady rate."""
    prefix = "benchlatency"
    database = stack.create_database("bench_latency")
    environment = _environment(stack, database, "service-cycle", prefix)
    engine = Service("latency", [command("touchline-stage-engine"), "run"], environment=environment, logs=logs)
    sent: dict[str, float] = {}
    took: list[float] = []
    # Made before, and sent in whole Kafka batches: the cores are for the engine, not for who measures it. They occurred
    # in the last hour: what occurred before the clock fired a timer would be folded as late.
    count = _WARM + int(rate * seconds)
    lived = workload.touchpoints(count, 20_000, 2, datetime.now(UTC) - timedelta(hours=1), every=3600 / count)
    load = [
        (orjson.loads(value)["id"], workload.partition(customer, PARTITIONS), customer.encode(), value)
        for customer, value in lived
    ]
    with engine:
        engine.wait_ready()
        topics = TOUCHPOINTS.full_name(prefix), STAGE_CHANGES.full_name(prefix)
        consumer = AIOKafkaConsumer(bootstrap_servers=stack.kafka_bootstrap, isolation_level="read_committed")
        producer = AIOKafkaProducer(
            bootstrap_servers=stack.kafka_bootstrap, enable_idempotence=True, max_batch_size=1 << 20
        )
        async with consumer, producer:
            consumer.assign([TopicPartition(topics[1], number) for number in range(PARTITIONS)])
            await consumer.seek_to_end()
            reading = asyncio.create_task(_read_moves(consumer, sent, took))
            # Customers who are known already, as on any day but the first.
            for number in range(0, _WARM, 1000):
                await _send(producer, topics[0], load[number : number + 1000], {})
            connection = await asyncpg.connect(database)
            await _watch(connection, _WARM, prefix)
            await connection.close()
            load = load[_WARM:]
            began, number = time.perf_counter(), 0
            while number < len(load):
                await asyncio.sleep(_TICK)
                due = min(len(load), int(rate * (time.perf_counter() - began)))
                await _send(producer, topics[0], load[number:due], sent)
                number = due
            spent = time.perf_counter() - began
            await asyncio.sleep(2)
            reading.cancel()
    stack.drop_database("bench_latency")
    took.sort()
    return {
        "latency at half load: touchpoints/s": number / spent,
        "latency at half load: moves seen": float(len(took)),
        "latency at half load: p50 ms": 1000 * took[len(took) // 2],
        "latency at half load: p99 ms": 1000 * took[int(len(took) * 0.99)],
    }


async def _send(
    producer: AIOKafkaProducer, topic: str, load: list[tuple[str, int, bytes, bytes]], sent: dict[str, float]
) -> None:
    """Send what is due, a Kafka batch for each partition."""
    batches: dict[int, Any] = {}
    for ident, partition, key, value in load:
        sent[ident] = time.perf_counter()
        if (batch := batches.get(partition)) is None:
            batch = batches[partition] = producer.create_batch()
        batch.append(key=key, value=value, timestamp=None)
    for partition, batch in batches.items():
        await producer.send_batch(batch, topic, partition=partition)


async def _read_moves(consumer: AIOKafkaConsumer, sent: dict[str, float], took: list[float]) -> None:
    while True:
        for records in (await consumer.getmany(timeout_ms=200)).values():
            now = time.perf_counter()
            for record in records:
                touchpoint = (orjson.loads(record.value).get("reason") or {}).get("touchpoint_id")
                if touchpoint in sent:
                    took.append(now - sent.pop(touchpoint))
