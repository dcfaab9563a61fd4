"""A notifier as its own process, with Kafka around it: what the tests of the notifier do and see."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from touchline_devstack.receivers import WebhookReceiver
from touchline_notifier.adapters.kafka.topics import wanted_topics
from touchline_notifier.settings import NotifierSettings
from touchline_runtime.kafka.clients import Admin
from touchline_schemas.cloudevents import to_headers
from touchline_schemas.ids import fact_id
from touchline_schemas.partitions import partition_of
from touchline_schemas.times import to_wire
from touchline_schemas.topics import LIFECYCLES, RETENTION_ACTIONS, STAGE_CHANGES, TOUCHPOINTS
from uuid_utils import uuid7

from tests.support.ports import free_port
from tests.support.waiting import wait_until

PARTITIONS = 2
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STAGES = ["reach", "acquisition", "nurture", "retention", "advocacy"]


@dataclass
class Process:
    """A running ``touchline-notifier``."""

    popen: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def ready(self) -> "Process":
        """Wait for ``/readyz``."""

        async def answers() -> bool:
            assert self.popen.poll() is None, self.log.read_text()
            try:
                async with httpx.AsyncClient(timeout=60) as client:
                    return (await client.get(f"{self.url}/readyz")).status_code == 200
            except httpx.HTTPError:
                return False

        await wait_until(answers, seconds=180)
        return self

    def kill(self) -> None:
        """As kill -9 does."""
        self.popen.kill()
        self.popen.wait(60)

    def stop(self) -> int:
        """Ask it to stop; its exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(90)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            raise AssertionError(self.log.read_text()) from None


@dataclass
class World:
    """Kafka, PostgreSQL and files around a notifier."""

    bootstrap: str
    database_url: str
    prefix: str
    folder: Path
    producer: AIOKafkaProducer
    settings: NotifierSettings
    pool: asyncpg.Pool | None = None
    environment: dict[str, str] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    sequences: dict[tuple[str, str], int] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def open(cls, bootstrap: str, database_url: str, prefix: str, folder: Path) -> AsyncIterator["World"]:
        settings = NotifierSettings(
            kafka_bootstrap_servers=bootstrap, topic_prefix=prefix, partitions=PARTITIONS, kafka_replication_factor=1
        )
        async with Admin(settings, "world") as admin:
            await admin.ensure_topics(wanted_topics(settings))
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, max_batch_size=1 << 20)
        await producer.start()
        (folder / "plays").mkdir(parents=True)
        world = cls(bootstrap, database_url, prefix, folder, producer, settings)
        world.endpoints("endpoints: []")
        await world.lifecycle("service-cycle", STAGES)
        try:
            yield world
        finally:
            for process in world.processes:
                process.stop()
                # Shown when the test failed.
                print(process.log.read_text())
            await producer.stop()
            if world.pool is not None:
                await world.pool.close()

    # Files

    def play(self, text: str, name: str = "play") -> None:
        """Drop a play into the folder."""
        (self.folder / "plays" / f"{name}.yaml").write_text(text)

    def endpoints(self, text: str) -> None:
        """Write the endpoints file."""
        (self.folder / "endpoints.yaml").write_text(text)

    def crm(self, receiver: WebhookReceiver, more: str = "") -> None:
        """One webhook endpoint named crm."""
        self.endpoints(f"endpoints:\n  - {{name: crm, url: '{receiver.url}', secret: {{env: CRM_SECRET}}{more}}}\n")

    # Processes

    def start(self, *command: str, **environment: str) -> Process:
        """Start a notifier."""
        port = free_port()
        log = self.folder / f"notifier-{len(self.processes)}.log"
        given = {
            "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "TOUCHLINE_DATABASE_URL": self.database_url,
            "TOUCHLINE_TOPIC_PREFIX": self.prefix,
            "TOUCHLINE_PARTITIONS": str(PARTITIONS),
            "TOUCHLINE_HTTP_PORT": str(port),
            "TOUCHLINE_PLAYS_DIR": str(self.folder / "plays"),
            "TOUCHLINE_ENDPOINTS_FILE": str(self.folder / "endpoints.yaml"),
            "TOUCHLINE_DELIVERY_ALLOWED_NETWORKS": "127.0.0.0/8",
            "TOUCHLINE_LIFECYCLES_WAIT_SECONDS": "2",
            "TOUCHLINE_PUBLIC_URL": f"http://127.0.0.1:{port}",
            "CRM_SECRET": SECRET,
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TOUCHLINE_")}
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [str(Path(sys.executable).parent / "touchline-notifier"), *(command or ("run",))],
                env=inherited | given | self.environment | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        process = Process(popen, port, log)
        self.processes.append(process)
        return process

    # Kafka

    async def _send(self, topic: str, key: str, kind: str, ce_id: str, data: dict[str, Any]) -> None:
        headers = to_headers(id=ce_id, type=kind, source="/test", time=datetime.now(UTC), subject=key)
        await self.producer.send_and_wait(topic, orjson.dumps(data), key=key.encode(), headers=headers)

    async def lifecycle(self, name: str, stages: list[str]) -> None:
        """Say that a lifecycle runs."""
        data = {
            "name": name, "version": 1, "title": name, "cyclic": False, "stages": stages, "definition": "-",
            "sha256": "-",
        }  # fmt: skip
        topic = LIFECYCLES.full_name(self.prefix)
        await self._send(topic, f"{name}/1", "touchline.lifecycle-defined", f"{name}/1", data)

    async def touchpoint(self, customer: str, kind: str = "page_viewed", **more: Any) -> None:
        """Publish a touchpoint as ingest would."""
        now = to_wire(datetime.now(UTC))
        data = {
            "id": str(uuid7()), "type": kind, "channel": "web", "direction": "inbound", "customer_id": customer,
            "occurred_at": now, "received_at": now, "source": "test", "properties": {}, "machine": False,
            "backfill": False, **more,
        }  # fmt: skip
        topic = TOUCHPOINTS.full_name(self.prefix)
        await self._send(topic, customer, "touchline.touchpoint", data["id"], data)

    async def fact(self, kind: str, customer: str, lifecycle: str = "service-cycle", **more: Any) -> str:
        """Publish a fact as the engine would; its ce_id."""
        number = self.numbers[customer, lifecycle] = self.numbers.get((customer, lifecycle), 0) + 1
        ident = str(fact_id(customer, lifecycle, 0, number))
        now = to_wire(datetime.now(UTC))
        data = {
            "customer_id": customer, "lifecycle": lifecycle, "lifecycle_version": 1, "fact_no": number,
            "incarnation": 0, "occurred_at": now, "decided_at": now, "backfill": False, **more,
        }  # fmt: skip
        await self._send(STAGE_CHANGES.full_name(self.prefix), customer, f"touchline.{kind}", ident, data)
        return ident

    async def moved(
        self, customer: str, to: str, move: str = "advance", *, before: str | None = "reach", reason: str = "rule",
        lifecycle: str = "service-cycle", **more: Any,
    ) -> str:  # fmt: skip
        """A move."""
        sequence = self.sequences[customer, lifecycle] = self.sequences.get((customer, lifecycle), 0) + 1
        return await self.fact(
            "stage-changed", customer, lifecycle, from_stage=before, to_stage=to, move=move,
            reason={"kind": reason, "text": "a test"}, sequence=sequence, **more,
        )  # fmt: skip

    async def stalled(self, customer: str, stage: str = "retention", level: int = 1, **more: Any) -> str:
        """A stall, due just now unless said otherwise."""
        due = more.pop("due_at", datetime.now(UTC))
        since = to_wire(due - timedelta(days=30))
        return await self.fact(
            "customer-stalled", customer, stage=stage, level=level, since=since, due_at=to_wire(due), **more
        )

    async def recovered(self, customer: str, stage: str = "retention", **more: Any) -> str:
        """A recovery."""
        given = {"stalled_seconds": 60.0, "touchpoint_id": "t-1", **more}
        return await self.fact("customer-recovered", customer, stage=stage, **given)

    async def news(self, kind: str, customer: str, **more: Any) -> None:
        """customer-merged or customer-erased."""
        now = to_wire(datetime.now(UTC))
        data = {"customer_id": customer, "incarnation": 0, "occurred_at": now, "decided_at": now, **more}
        await self._send(STAGE_CHANGES.full_name(self.prefix), customer, f"touchline.{kind}", str(uuid7()), data)

    async def published(self, topic: str | None = None) -> list[dict[str, Any]]:
        """Everything on a topic (retention-actions by default), committed, in order by partition, with its headers."""
        found = []
        async for record in self._records(topic or RETENTION_ACTIONS.full_name(self.prefix)):
            headers = {key: value.decode() for key, value in record.headers}
            assert record.partition == partition_of(record.key.decode(), PARTITIONS)
            found.append({**orjson.loads(record.value), "_headers": headers})
        return found

    async def _records(self, topic: str) -> AsyncIterator[ConsumerRecord]:
        """What is on a topic now, committed, in order by partition."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, isolation_level="read_committed", group_id=None)
        await consumer.start()
        try:
            for number in range(PARTITIONS):
                where = TopicPartition(topic, number)
                consumer.assign([where])
                await consumer.seek_to_beginning(where)
                end = (await consumer.end_offsets([where]))[where]
                while await consumer.position(where) < end:
                    for record in (await consumer.getmany(where, timeout_ms=200)).get(where, []):
                        yield record
        finally:
            await consumer.stop()

    async def actions(self, *outcomes: str) -> list[dict[str, Any]]:
        """Published action events, of these outcomes."""
        return [one for one in await self.published() if not outcomes or one["outcome"] in outcomes]

    async def await_actions(self, count: int, *outcomes: str) -> list[dict[str, Any]]:
        """Wait for so many action events of these outcomes."""

        async def enough() -> list[dict[str, Any]]:
            found = await self.actions(*outcomes)
            return found if len(found) >= count else []

        return list(await wait_until(enough))

    async def database(self) -> asyncpg.Pool:
        """Connections to the notifier's database."""
        if self.pool is None:
            self.pool = await asyncpg.create_pool(
                self.database_url, min_size=1, max_size=3, server_settings={"search_path": self.settings.search_path}
            )
        return self.pool

    async def settled(self) -> None:
        """Wait until everything put on the topics so far has been taken."""
        pool = await self.database()
        names = (TOUCHPOINTS.full_name(self.prefix), STAGE_CHANGES.full_name(self.prefix))
        last: dict[TopicPartition, int] = {}
        for name in names:
            async for record in self._records(name):
                # The last record's offset: the end is past marks of transactions, which nobody takes.
                last[TopicPartition(name, record.partition)] = record.offset

        async def taken() -> bool:
            rows = await pool.fetch("SELECT partition, next_touchpoint, next_fact FROM positions")
            at = {
                TopicPartition(name, row["partition"]): row[column]
                for row in rows
                for name, column in zip(names, ("next_touchpoint", "next_fact"), strict=True)
            }
            return all(at.get(where, -1) > offset for where, offset in last.items())

        await wait_until(taken)
