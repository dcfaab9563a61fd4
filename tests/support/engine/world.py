"""Engines as processes, the topics around them, and the same answer worked out in memory."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from touchline_schemas.identity import keys_of
from touchline_schemas.times import to_wire

from tests.support.ports import free_port
from tests.support.waiting import wait_until

PARTITIONS = 4
TIMEOUT_SECONDS = 60.0

LIFECYCLE = """
lifecycle: trial
version: 1
cyclic: true
rules:
  - {when: [survey_answered], where: {properties.score: {lte: 3}}, to: previous, reason: a bad survey}
  - {when: [complaint_made], to: angry}
stages:
  - name: reach
    stall: {after: 14d, then: [30d]}
    rules:
      - {when: [page_viewed], count: 3, within: 20d, to: next, reason: keeps coming back}
  - name: try
    stall: {after: 10d}
    lapse: {after: 40d, to: reach}
    rules:
      - all:
          - {when: [email_clicked], count: 2}
          - {when: [demo_booked]}
        to: buy
      - {when: [purchased], to: buy}
  - name: buy
    stall: {after: 30d}
    lapse: {after: 90d, to: first}
    rules:
      - {when: [page_viewed], count: 4, to: next}
off_path:
  - name: angry
    lapse: {after: 60d, to: reach}
    rules:
      - {when: [ticket_resolved], to: try}
"""
TYPES = (
    "page_viewed", "page_viewed", "page_viewed", "email_clicked", "demo_booked", "purchased", "survey_answered",
    "complaint_made", "ticket_resolved", "email_bounced",
)  # fmt: skip


def touchpoint(touchpoint_id: str, at: datetime, *, source: str = "shop", **more: Any) -> dict[str, Any]:
    """A touchpoint as ingest writes it."""
    return {
        "id": touchpoint_id,
        "type": "page_viewed",
        "channel": "web",
        "direction": "inbound",
        "occurred_at": to_wire(at),
        "received_at": to_wire(at + timedelta(seconds=1)),
        "source": source,
        "properties": {},
        "machine": False,
        "backfill": False,
    } | more


def key_of(data: dict[str, Any]) -> str:
    """The key a touchpoint is filed under."""
    return all_keys(data)[0]


def all_keys(data: dict[str, Any]) -> list[str]:
    return keys_of(
        customer_id=data.get("customer_id"),
        anonymous_id=data.get("anonymous_id"),
        email=data.get("email"),
        external_id=data.get("external_id"),
        source=data["source"],
    )


@dataclass
class Process:
    """One engine process."""

    popen: subprocess.Popen[bytes]
    port: int
    log: Path

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.popen.send_signal(number)

    async def ready(self) -> None:
        """Wait until it says that it can do its work."""
        async with httpx.AsyncClient(timeout=60) as client:

            async def answer() -> bool:
                assert self.popen.poll() is None, self.log.read_text()
                with contextlib.suppress(httpx.HTTPError):
                    return (await client.get(f"http://127.0.0.1:{self.port}/readyz")).status_code == 200
                return False

            await wait_until(answer, "the engine is ready")

    async def ended(self, timeout: float = TIMEOUT_SECONDS) -> int:
        """Wait for its end; the exit code."""

        async def code() -> list[int]:
            found = self.popen.poll()
            return [] if found is None else [found]

        return int((await wait_until(code, "the engine has ended", timeout))[0])

    async def metric(self, name: str) -> float:
        """The sum of a metric's samples."""
        async with httpx.AsyncClient(timeout=60) as client:
            text = (await client.get(f"http://127.0.0.1:{self.port}/metrics")).text
        return sum(
            float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))
        )


@dataclass
class World:
    """One test's topics, tables and engines."""

    bootstrap: str
    database_url: str
    prefix: str
    folder: Path
    producer: AIOKafkaProducer
    environment: dict[str, str] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def open(cls, bootstrap: str, database_url: str, prefix: str, folder: Path) -> AsyncIterator["World"]:
        """A world with the trial lifecycle in its folder; its processes are ended at the end."""
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=2)
        await producer.start()
        world = cls(bootstrap, database_url, prefix, folder, producer)
        world.lifecycles.mkdir()
        world.write_lifecycle(LIFECYCLE)
        try:
            yield world
        finally:
            for process in world.processes:
                if process.popen.poll() is None:
                    process.signal(signal.SIGCONT)
                    process.signal(signal.SIGKILL)
                    process.popen.wait()
            await world.producer.stop()

    @property
    def lifecycles(self) -> Path:
        """The folder of definitions."""
        return self.folder / "lifecycles"

    def write_lifecycle(self, text: str, name: str = "trial") -> None:
        """Put a definition into the folder."""
        (self.lifecycles / f"{name}.yaml").write_text(text)

    def settings(self, **more: str) -> dict[str, str]:
        """The environment of a command line in this world."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TOUCHLINE_")}
        return (
            inherited
            | {
                "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
                "TOUCHLINE_DATABASE_URL": self.database_url,
                "TOUCHLINE_TOPIC_PREFIX": self.prefix,
                "TOUCHLINE_PARTITIONS": str(PARTITIONS),
                "TOUCHLINE_LIFECYCLES": "trial",
                "TOUCHLINE_LIFECYCLES_DIR": str(self.lifecycles),
                "TOUCHLINE_LOG_FORMAT": "json",
            }
            | self.environment
            | more
        )

    def command(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command line to its end."""
        return subprocess.run(
            [sys.executable, "-m", "touchline_stage_engine.entrypoints.cli.main", *arguments],
            env=self.settings(**more),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    async def rebuild(self) -> None:
        """Run `rebuild`, and wait until every customer is folded again."""
        generations = "SELECT DISTINCT generation FROM customers"
        before = await self.sql(generations)
        done = await asyncio.to_thread(self.command, "rebuild")
        assert done.returncode == 0, done.stderr

        async def rebuilt() -> bool:
            found = await self.sql(generations)
            return len(found) == 1 and found != before

        await wait_until(rebuilt, "everybody is folded again")

    def start(self, *arguments: str, port: int | None = None, verb: str = "run", **more: Any) -> Process:
        """Start `run`, or another long-running command."""
        port = port or free_port()
        log = self.folder / f"engine-{port}-{len(self.processes)}.log"
        with log.open("wb") as file:
            popen = subprocess.Popen(
                [sys.executable, "-m", "touchline_stage_engine.entrypoints.cli.main", verb, *arguments],
                env=self.settings(TOUCHLINE_HTTP_PORT=str(port), **more),
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        process = Process(popen, port, log)
        self.processes.append(process)
        return process

    async def running(self, *arguments: str, **more: Any) -> Process:
        """Start `run`, and wait until it is ready."""
        process = self.start(*arguments, **more)
        await process.ready()
        return process

    # --- Kafka -------------------------------------------------------------------------------------------------------

    def topic(self, name: str) -> str:
        """A topic's full name."""
        return f"{self.prefix}.{name}.v1"

    async def renew_producer(self) -> None:
        """For topics that were created again: a producer files by the number of partitions that it remembers."""
        await self.producer.stop()
        self.producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", linger_ms=2)
        await self.producer.start()

    async def post(self, touchpoints: Iterable[dict[str, Any]]) -> None:
        """Write touchpoints to their topic, in this order."""
        sent = [
            await self.producer.send(self.topic("touchpoints"), json.dumps(one).encode(), key=key_of(one).encode())
            for one in touchpoints
        ]
        await asyncio.gather(*sent)

    async def records(self, topic: str, isolation: str = "read_committed") -> list[Any]:
        """Everything committed on a topic, by partition in order."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, isolation_level=isolation, auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            name = self.topic(topic)
            count = len(await _partitions(consumer, name))
            pairs = [TopicPartition(name, partition) for partition in range(count)]
            consumer.assign(pairs)
            ends = await consumer.end_offsets(pairs)
            found: dict[Any, list[Any]] = {pair: [] for pair in pairs}

            async def read() -> bool:
                for pair, records in (await consumer.getmany(timeout_ms=50)).items():
                    found[pair] += records
                return all([await consumer.position(pair) >= ends[pair] for pair in pairs])

            await wait_until(read, f"{topic} is read")
            return [record for pair in pairs for record in found[pair]]
        finally:
            await consumer.stop()

    async def facts(self) -> list[dict[str, Any]]:
        """Everything on stage-changes, with `ce_id` and `ce_type`."""
        return [
            orjson.loads(record.value)
            | {name: value.decode() for name, value in record.headers if name in ("ce_id", "ce_type")}
            for record in await self.records("stage-changes")
        ]

    @asynccontextmanager
    async def open_transactions(self, topic: str) -> AsyncIterator[Callable[[], Awaitable[bool]]]:
        """A function that says whether records of a transaction that has not ended lie on a topic right now."""
        name = self.topic(topic)
        async with contextlib.AsyncExitStack() as stack:
            readers = []
            for isolation in ("read_uncommitted", "read_committed"):
                reader = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, isolation_level=isolation)
                await reader.start()
                stack.push_async_callback(reader.stop)
                readers.append(reader)
            pairs = [TopicPartition(name, partition) for partition in await _partitions(readers[0], name)]

            async def any_open() -> bool:
                written, committed = [await reader.end_offsets(pairs) for reader in readers]
                return any(committed[pair] < written[pair] for pair in pairs)

            yield any_open

    async def latest_stages(self) -> dict[str, dict[str, Any] | None]:
        """The compacted topic, as a new subscriber has it."""
        return {
            record.key.decode(): None if record.value is None else orjson.loads(record.value)
            for record in await self.records("customer-stages")
        }

    # --- what came of it ---------------------------------------------------------------------------------------------

    async def get(self, path: str, process: Process | None = None) -> Any:
        """GET of the query API; None for 404."""
        process = process or self.processes[-1]
        async with httpx.AsyncClient(timeout=60) as client:
            response = await client.get(f"http://127.0.0.1:{process.port}{path}")
        assert response.status_code in (200, 404), response.text
        return None if response.status_code == 404 else response.json()

    async def sql(self, query: str, *arguments: Any) -> list[Any]:
        """Rows of the engine's tables."""
        connection = await asyncpg.connect(
            self.database_url, server_settings={"search_path": f'"stage_engine_{self.prefix}"'}
        )
        try:
            return await connection.fetch(query, *arguments)
        finally:
            await connection.close()

    async def published(self) -> None:
        """Wait until everything that is committed is on the topics: the outbox is empty."""

        async def none_waits() -> bool:
            return not await self.sql("SELECT 1 FROM outbox LIMIT 1")

        await wait_until(none_waits, "everything is published")

    async def folded(self, number: int, timeout: float = TIMEOUT_SECONDS) -> None:
        """Wait until that many touchpoints were read, whatever became of them."""

        async def enough() -> bool:
            (row,) = await self.sql(
                "SELECT coalesce(sum(folded + duplicates + dead_letters + erased), 0) AS n FROM partitions"
            )
            return int(row["n"]) >= number

        await wait_until(enough, f"{number} touchpoints are folded", timeout)


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    async def known() -> set[int] | None:
        await consumer._client.force_metadata_update()
        consumer._client.add_topic(topic)
        found: set[int] | None = consumer.partitions_for_topic(topic)
        return found

    return set(await wait_until(known, f"{topic} is known"))
