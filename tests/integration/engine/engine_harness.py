"""Engines as processes, the topics around them, and the same answer worked out in memory."""

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from touchline_schemas.identity import keys_of
from touchline_schemas.times import from_micros, parse_micros, to_wire
from touchline_stage_engine.core.compile import compile_definition
from touchline_stage_engine.core.fold import Fold
from touchline_stage_engine.core.identity import canonical_roots, weigh
from touchline_stage_engine.core.reading import read_definition
from touchline_stage_engine.core.timeline import Timeline
from touchline_stage_engine.core.touchpoint import Touchpoint

PARTITIONS = 4
PATIENCE = 60.0

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


def free_port() -> int:
    """A port nobody listens on right now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


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
    return _keys(data)[0]


def _keys(data: dict[str, Any]) -> list[str]:
    return keys_of(
        customer_id=data.get("customer_id"),
        anonymous_id=data.get("anonymous_id"),
        email=data.get("email"),
        external_id=data.get("external_id"),
        source=data["source"],
    )


async def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Wait until a condition (a coroutine function) gives something true; what it gave."""
    deadline = time.monotonic() + patience
    while True:
        found = await condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"gave up waiting until {what}"
        await asyncio.sleep(0.05)


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
        async with httpx.AsyncClient() as client:

            async def answer() -> bool:
                assert self.popen.poll() is None, self.log.read_text()
                with contextlib.suppress(httpx.HTTPError):
                    return (await client.get(f"http://127.0.0.1:{self.port}/readyz")).status_code == 200
                return False

            await until(answer, "the engine is ready")

    async def ended(self, patience: float = PATIENCE) -> int:
        """Wait for its end; the exit code."""

        async def code() -> list[int]:
            found = self.popen.poll()
            return [] if found is None else [found]

        return int((await until(code, "the engine has ended", patience))[0])

    async def metric(self, name: str) -> float:
        """The sum of a metric's samples."""
        async with httpx.AsyncClient() as client:
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
            await producer.stop()

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
            [sys.executable, "-m", "touchline_stage_engine.entrypoints.cli", *arguments],
            env=self.settings(**more),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(self, *arguments: str, port: int | None = None, verb: str = "run", **more: str) -> Process:
        """Start `run`, or another long-running command."""
        port = port or free_port()
        log = self.folder / f"engine-{port}-{len(self.processes)}.log"
        with log.open("wb") as file:
            popen = subprocess.Popen(
                [sys.executable, "-m", "touchline_stage_engine.entrypoints.cli", verb, *arguments],
                env=self.settings(TOUCHLINE_HTTP_PORT=str(port), **more),
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        process = Process(popen, port, log)
        self.processes.append(process)
        return process

    async def running(self, *arguments: str, **more: str) -> Process:
        """Start `run`, and wait until it is ready."""
        process = self.start(*arguments, **more)
        await process.ready()
        return process

    # --- Kafka -------------------------------------------------------------------------------------------------------

    def topic(self, name: str) -> str:
        """A topic's full name."""
        return f"{self.prefix}.{name}.v1"

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

            await until(read, f"{topic} is read")
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
        async with httpx.AsyncClient() as client:
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

    async def folded(self, number: int, patience: float = PATIENCE) -> None:
        """Wait until that many touchpoints were read, whatever became of them."""

        async def enough() -> bool:
            (row,) = await self.sql(
                "SELECT coalesce(sum(folded + duplicates + dead_letters + erased), 0) AS n FROM partitions"
            )
            return int(row["n"]) >= number

        await until(enough, f"{number} touchpoints are folded", patience)


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    async def known() -> set[int] | None:
        await consumer._client.force_metadata_update()
        consumer._client.add_topic(topic)
        return consumer.partitions_for_topic(topic)

    return set(await until(known, f"{topic} is known"))


# --- the same answer, in memory --------------------------------------------------------------------------------------


def trial_fold(text: str = LIFECYCLE) -> Fold:
    """The fold of a definition."""
    return Fold(Timeline.of(compile_definition(read_definition(text, "trial.yaml"))))


def read_posted(data: dict[str, Any]) -> Touchpoint:
    """The core's touchpoint of a posted one."""
    return Touchpoint(
        parse_micros(data["occurred_at"]), data["id"], data["source"], data["type"], data["channel"],
        data["direction"], data["properties"], data["machine"], data["backfill"], parse_micros(data["received_at"]),
    )  # fmt: skip


def roots_of(posted: Iterable[dict[str, Any]]) -> tuple[dict[str, str], set[tuple[str, str]]]:
    """Kruskal over every link that was posted: key → root, and the refused pairs."""
    links = []
    for data in posted:
        first, *others = _keys(data)
        if not data["machine"]:
            at = parse_micros(data["occurred_at"])
            links += [weigh(at, data["id"], data["source"], first, other) for other in others]
    return canonical_roots(links)


def expected(posted: Sequence[dict[str, Any]], fold: Fold, now: int) -> dict[str, dict[str, Any]]:
    """Root → what GET /v1/customers/{root} says of the lifecycle, but for sequence and due time."""
    roots, _ = roots_of(posted)
    sets: dict[str, dict[tuple[str, str], Touchpoint]] = {}
    for data in posted:
        key = key_of(data)
        one = read_posted(data)
        sets.setdefault(roots.get(key, key), {}).setdefault((one.source, one.id), one)
    answer = {}
    for root, found in sets.items():
        ordered = sorted(found.values(), key=lambda one: one.order)
        state, facts = fold.refold(ordered, now)
        answer[root] = {
            "touchpoints": len(ordered),
            "stage": None if state is None else state.stage.name,
            "entered_at": None if state is None else to_wire(from_micros(state.entered_at)),
            "stalled_level": None if state is None else state.level,
            "facts": len(facts),
        }
    return answer


def random_touchpoints(
    seed: random.Random, customers: Sequence[dict[str, str]], each: int, now: datetime
) -> list[dict[str, Any]]:
    """Some months of touchpoints of these customers (each a dict of identifiers), in no order."""
    made = []
    for number, identifiers in enumerate(customers):
        for place in range(each):
            at = now - timedelta(microseconds=seed.randrange(200 * 86_400 * 10**6))
            type_ = seed.choice(TYPES)
            properties = {"score": seed.randrange(11)} if type_ == "survey_answered" else {}
            made.append(
                touchpoint(
                    f"t{number}-{place}", at, type=type_, properties=properties, machine=seed.random() < 0.05,
                    **identifiers,
                )
            )  # fmt: skip
    seed.shuffle(made)
    return made


def assert_sound(facts: Sequence[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Facts of every customer and lifecycle are numbered without gap or repetition, and moves make one chain.

    Returns the last move of each.
    """
    assert len({fact["ce_id"] for fact in facts}) == len(facts), "a fact was published twice"
    numbers: dict[tuple[str, str, int], int] = {}
    last: dict[tuple[str, str], dict[str, Any]] = {}
    for fact in facts:
        if fact["ce_type"] in ("touchline.customer-merged", "touchline.customer-erased"):
            for key in [key for key in last if key[0] == fact["customer_id"]]:
                last[key] = last[key] | {"to_stage": None}
            if fact["ce_type"] == "touchline.customer-erased":
                last = {key: move for key, move in last.items() if key[0] != fact["customer_id"]}
            continue
        who = (fact["customer_id"], fact["lifecycle"], fact["incarnation"])
        numbers[who] = numbers.get(who, 0) + 1
        assert fact["fact_no"] == numbers[who], fact
        if fact["ce_type"] == "touchline.stage-changed":
            before = last.get(who[:2])
            assert fact["sequence"] == (1 if before is None else before["sequence"] + 1), fact
            assert fact["from_stage"] == (None if before is None else before["to_stage"]), fact
            last[who[:2]] = fact
    return last


def now_micros() -> int:
    """The clock."""
    return time.time_ns() // 1000


def utc_now() -> datetime:
    """The clock, as a datetime."""
    return datetime.now(UTC)
