"""The one place where the stage engine is put together."""

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import metadata

import asyncpg
import structlog
from fastapi import Depends, FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine
from touchline_runtime import collector, database, kafka, process
from touchline_runtime.auth import require_token
from touchline_runtime.collector import Collector
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.health import Health
from touchline_runtime.http import build_app
from touchline_runtime.metrics import Metrics

from touchline_stage_engine import metrics as declared
from touchline_stage_engine.adapters import catalogue, commands, deployment, lifecycle_files, wiring
from touchline_stage_engine.adapters.engine import Engine
from touchline_stage_engine.adapters.intake import Intake
from touchline_stage_engine.adapters.lifecycle_files import Written
from touchline_stage_engine.adapters.owner import Shared, clock
from touchline_stage_engine.adapters.reads.customers import CustomerReads
from touchline_stage_engine.adapters.reads.lifecycles import LifecycleReads
from touchline_stage_engine.adapters.reads.standing import StandingReads
from touchline_stage_engine.adapters.reads.unread import Unread
from touchline_stage_engine.adapters.reads.value import ValueReads
from touchline_stage_engine.adapters.workers import Parent, Worker, Workers
from touchline_stage_engine.entrypoints.api import errors
from touchline_stage_engine.entrypoints.api.console import console_router
from touchline_stage_engine.entrypoints.api.customers import customers_router
from touchline_stage_engine.entrypoints.api.customers_reads import customer_reads_router
from touchline_stage_engine.entrypoints.api.lifecycles import lifecycles_router
from touchline_stage_engine.entrypoints.api.stream import stream_router
from touchline_stage_engine.entrypoints.api.value import value_router
from touchline_stage_engine.settings import StageEngineSettings

log = structlog.get_logger(__name__)

NAME = "touchline-stage-engine"
MIGRATIONS = "touchline_stage_engine.migrations"
_OBJECTS_AT_MOST = 3_000_000
"""Two large batches in six lifecycles are about a third of it, with what they have to publish."""
ABOUT = "Keeps each customer at their stage of each lifecycle. A stage is a pure function of the set of touchpoints."


@dataclass(frozen=True)
class Connections:
    """What every process of the engine holds open."""

    pool: asyncpg.Pool
    admin: kafka.Admin


@asynccontextmanager
async def connections(settings: StageEngineSettings) -> AsyncIterator[Connections]:
    """A pool of database connections and an admin client, once both servers answer."""
    settings.need("kafka_bootstrap_servers", "database_url")
    if settings.auto_migrate:
        await migrate(settings)
    async with (
        database.pool(settings, application_name=NAME, size=8, search_path=_path(settings)) as pool,
        kafka.Admin(settings, f"{settings.topic_prefix}-stage-engine-admin") as admin,
    ):
        yield Connections(pool, admin)


def _path(settings: StageEngineSettings) -> str:
    return f'"{settings.schema_name}"'


async def migrate(settings: StageEngineSettings) -> None:
    """Bring the tables to the newest version."""
    settings.need("database_url")
    await database.migrate(settings, package=MIGRATIONS, schema=settings.schema_name)


def definitions(settings: StageEngineSettings) -> list[Written]:
    """The definitions to run.

    Raises:
        ConfigurationError: one is wrong, or missing.
    """
    return lifecycle_files.choose(settings.names_wanted(), settings.lifecycles_dir)


def _health(open_: Connections) -> Health:
    health = Health()

    async def kafka_answers() -> None:
        await kafka.answers(open_.admin)

    async def database_answers() -> None:
        await database.answers(open_.pool)

    health.add("kafka", kafka_answers)
    health.add("database", database_answers)
    return health


def _bare_app(health: Health, metrics: Metrics) -> FastAPI:
    return build_app(
        "Touchline stage engine", version=metadata.version(NAME), about=ABOUT, health=health, metrics=metrics
    )


def query_app(settings: StageEngineSettings, engine: AsyncEngine, health: Health, metrics: Metrics) -> FastAPI:
    """The query API and the console."""
    app = _bare_app(health, metrics)
    errors.install(app)
    guarded = [Depends(require_token(settings.token_hashes()))]
    app.include_router(
        customer_reads_router(CustomerReads(engine, settings.partitions), Unread(settings, engine)),
        dependencies=guarded,
    )
    app.include_router(value_router(ValueReads(engine, settings.partitions)), dependencies=guarded)
    app.include_router(customers_router(StandingReads(engine, settings.partitions)), dependencies=guarded)
    app.include_router(lifecycles_router(LifecycleReads(engine)), dependencies=guarded)
    app.include_router(stream_router(settings), dependencies=guarded)
    app.include_router(console_router(), dependencies=guarded)
    return app


@asynccontextmanager
async def _reading(settings: StageEngineSettings) -> AsyncIterator[AsyncEngine]:
    async with database.sqlalchemy_engine(
        settings, application_name=f"{NAME} queries", search_path=_path(settings)
    ) as engine:
        yield engine


async def _engine(
    settings: StageEngineSettings, open_: Connections, written: list[Written], metrics: Metrics, index: int
) -> Engine:
    """A worker's engine, once topics, tables and definitions are in place."""
    inputs = await wiring.ensure_topics(open_.admin, settings)
    secret = await deployment.check_deployment(open_.pool, settings)
    running = await catalogue.record(open_.pool, written, clock())
    if index == 0:
        await catalogue.announce(running, settings, clock())
    worker = settings.worker(index)
    return Engine(
        lambda intake: Shared(settings, inputs, running, intake, open_.pool, metrics, worker, secret),
        Intake(settings, inputs, worker),
    )


async def run(settings: StageEngineSettings) -> process.Failed | None:
    """One process: folds and serves the query API."""
    written = definitions(settings)
    sock = process.listen(settings.http_host, settings.http_port)
    metrics = Metrics(declared.ALL)
    async with connections(settings) as open_, _reading(settings) as reading:
        engine = await _engine(settings, open_, written, metrics, 0)
        health = _health(open_)
        health.add("partitions", engine.check)
        app = query_app(settings, reading, health, metrics)
        collector.quiet(_OBJECTS_AT_MOST)
        return _explained(await process.run(app, sock, [engine, Collector()], settings=settings))


async def run_workers(settings: StageEngineSettings, number: int) -> process.Failed | None:
    """A process that serves the query API and keeps ``number`` worker processes folding."""
    definitions(settings)
    sock = process.listen(settings.http_host, settings.http_port)
    command = [sys.executable, "-m", "touchline_stage_engine.entrypoints.cli", "worker"]
    workers = Workers(Worker(index, command, process.listen("127.0.0.1", 0)) for index in range(number))
    metrics = Metrics(())
    metrics.registry.register(workers)
    async with connections(settings) as open_, _reading(settings) as reading:
        await wiring.ensure_topics(open_.admin, settings)
        health = _health(open_)
        health.add("workers", workers.check)
        app = query_app(settings, reading, health, metrics)
        return _explained(await process.run(app, sock, [workers], settings=settings))


async def run_worker(settings: StageEngineSettings, index: int, sock: socket.socket) -> process.Failed | None:
    """One of several workers: folds, and answers for its health and metrics to the process that started it."""
    written = definitions(settings)
    metrics = Metrics(declared.ALL)
    async with connections(settings) as open_:
        engine = await _engine(settings, open_, written, metrics, index)
        health = _health(open_)
        health.add("partitions", engine.check)
        app = _bare_app(health, metrics)
        collector.quiet(_OBJECTS_AT_MOST)
        return _explained(await process.run(app, sock, [engine, Parent(), Collector()], settings=settings))


async def serve(settings: StageEngineSettings) -> process.Failed | None:
    """The query API alone."""
    sock = process.listen(settings.http_host, settings.http_port)
    metrics = Metrics(())
    async with connections(settings) as open_, _reading(settings) as reading:
        await wiring.ensure_topics(open_.admin, settings)
        app = query_app(settings, reading, _health(open_), metrics)
        return await process.run(app, sock, [], settings=settings)


async def erase(settings: StageEngineSettings, customer_id: str) -> None:
    """Send the request to erase a customer."""
    await commands.request_erasure(settings, customer_id, clock())


async def rebuild(settings: StageEngineSettings) -> None:
    """Send the request to fold everybody again."""
    await commands.request_rebuild(settings, clock())


def _explained(failed: process.Failed | None) -> process.Failed | None:
    """A component that found the settings wrong ends the process with the words for it."""
    if failed is not None and isinstance(failed.error, ConfigurationError):
        raise failed.error
    return failed
