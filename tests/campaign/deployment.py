"""The services of a campaign, each process behind TCP proxies of its own."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from touchline_checker.collect.postgres import schema
from touchline_devstack.processes import Service, command
from touchline_devstack.receivers import MailCatcher, WebhookReceiver
from touchline_devstack.stack import Stack

from tests.campaign.definitions import ENDPOINTS, KEY, LIFECYCLE, PLAYS, SECRET, SOURCES, UNSUBSCRIBE_SECRET
from tests.support.service_commands import SERVICE_COMMANDS
from tests.support.tcp_proxy import TcpProxy

PARTITIONS = 6


@dataclass(eq=False)
class Process:
    """One process of a service and its proxies; `lock` is held while a fault is made on it."""

    role: str
    name: str
    service: Service
    kafka: TcpProxy
    postgres: TcpProxy
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def kill(self) -> None:
        """SIGKILL."""
        await asyncio.to_thread(self.service.kill)

    async def start(self) -> None:
        """Start it and wait until it is ready; the caller releases the servers first."""
        for proxy in (self.kafka, self.postgres):
            proxy.breakpoint = None
            proxy.reset()
        if not self.service.is_running:
            self.service.start()
        await asyncio.to_thread(self.service.wait_ready)


@dataclass
class Deployment:
    """Everything of one round."""

    stack: Stack
    prefix: str
    database_url: str
    folder: Path
    receiver: WebhookReceiver
    mails: MailCatcher
    processes: list[Process]

    def of(self, role: str) -> list[Process]:
        return [process for process in self.processes if process.role == role]

    @property
    def ingest_url(self) -> str:
        return self.of("ingest")[0].service.url

    @property
    def plays(self) -> Path:
        return self.folder / "plays"

    async def epochs(self, role: str) -> dict[int, tuple[int, str]]:
        """Partition → epoch and owner, as the database has them."""
        if role == "engine":
            query = "SELECT partition, epoch, coalesce(owner, '') AS owner FROM {}.partitions"
            query = query.format(schema("stage_engine", self.prefix))
        else:
            query = "SELECT partition, epoch, owner_pid::text AS owner FROM {}.positions"
            query = query.format(schema("notifier", self.prefix))
        connection = await asyncpg.connect(self.database_url, timeout=30)
        try:
            return {row["partition"]: (row["epoch"], row["owner"]) for row in await connection.fetch(query)}
        finally:
            await connection.close()


@asynccontextmanager
async def deployed(stack: Stack, prefix: str, folder: Path, engines: int, notifiers: int) -> AsyncIterator[Deployment]:
    """Start everything, each process behind its proxies; stop it at the end."""
    for name, files in {"lifecycles": {"club": LIFECYCLE}, "plays": PLAYS}.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (folder / name / f"{file}.yaml").write_text(text)
    (folder / "sources.yaml").write_text(SOURCES.format(digest=hashlib.sha256(KEY.encode()).hexdigest()))
    database_url = await asyncio.to_thread(stack.create_database, f"campaign_{prefix}")
    kafka_host, kafka_port = stack.kafka_bootstrap.rsplit(":", 1)
    async with AsyncExitStack() as running:
        receiver = running.enter_context(WebhookReceiver([SECRET]))
        mails = running.enter_context(MailCatcher())
        (folder / "endpoints.yaml").write_text(ENDPOINTS.format(url=receiver.url, smtp=mails.port))
        processes = []
        for role, number in (("ingest", 1), ("engine", engines), ("notifier", notifiers)):
            for index in range(number):
                name = f"{role}-{index}"
                kafka = await running.enter_async_context(TcpProxy(kafka_host, int(kafka_port), kafka=True).serve())
                parts = urlsplit(database_url)
                assert parts.hostname is not None
                assert parts.port is not None
                postgres = await running.enter_async_context(TcpProxy(parts.hostname, parts.port).serve())
                credentials = parts.netloc.rsplit("@", 1)[0]
                through = urlunsplit(parts._replace(netloc=f"{credentials}@127.0.0.1:{postgres.port}"))
                program, *arguments = SERVICE_COMMANDS[role]
                service = Service(
                    name,
                    [command(program), *arguments],
                    environment={
                        "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{kafka.port}",
                        "TOUCHLINE_DATABASE_URL": through,
                        "TOUCHLINE_TOPIC_PREFIX": prefix,
                        "TOUCHLINE_PARTITIONS": str(PARTITIONS),
                        "TOUCHLINE_LIFECYCLES": "club",
                        "TOUCHLINE_LIFECYCLES_DIR": str(folder / "lifecycles"),
                        "TOUCHLINE_PLAYS_DIR": str(folder / "plays"),
                        "TOUCHLINE_SOURCES_FILE": str(folder / "sources.yaml"),
                        "TOUCHLINE_ENDPOINTS_FILE": str(folder / "endpoints.yaml"),
                        "TOUCHLINE_DELIVERY_ALLOWED_NETWORKS": "127.0.0.0/8",
                        "TOUCHLINE_UNSUBSCRIBE_SECRET": UNSUBSCRIBE_SECRET,
                        "TOUCHLINE_NOTIFIER_PUBLIC_URL": "http://127.0.0.1:8082",
                        "TOUCHLINE_DATABASE_COMMAND_TIMEOUT_SECONDS": "10",
                        "TOUCHLINE_LOG_FORMAT": "json",
                        "DESK_SECRET": SECRET,
                    },
                    logs=folder / "logs",
                )
                processes.append(Process(role, name, service, kafka, postgres))
        deployment = Deployment(stack, prefix, database_url, folder, receiver, mails, processes)
        try:
            # One of each role first: it creates topics and tables.
            for role in ("ingest", "engine", "notifier"):
                await deployment.of(role)[0].start()
            await asyncio.gather(*(process.start() for process in processes))
            yield deployment
        finally:
            for process in processes:
                if process.service.is_running:
                    with suppress(ProcessLookupError):
                        process.service.resume()
                    await process.kill()
