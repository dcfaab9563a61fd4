"""Puts the stage engine together: connections, adapters, use cases, processes."""

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata

import asyncpg
import structlog
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine
from touchline_runtime.answer_cache import AnswerCache
from touchline_runtime.audit.postgres import PostgresAuditLog
from touchline_runtime.audit.retention import AuditRetention
from touchline_runtime.audit.routes import audit_router
from touchline_runtime.console_link import console_link_router
from touchline_runtime.database import pools as database
from touchline_runtime.database.readiness import tables_answer
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.http.app import build_app
from touchline_runtime.http.auth import include_guarded
from touchline_runtime.http.parameters import only_known_parameters
from touchline_runtime.http.problems import TimeLimit
from touchline_runtime.http.tokens import Role
from touchline_runtime.kafka import clients as kafka
from touchline_runtime.kafka import fast_records
from touchline_runtime.metrics import Metrics
from touchline_runtime.process import gc_tuning
from touchline_runtime.process import run as process
from touchline_runtime.process.gc_tuning import IdleCollector
from touchline_runtime.process.health import Health
from touchline_runtime.tracing import tracing_of

from touchline_stage_engine import metrics as declared
from touchline_stage_engine.adapters.files import lifecycles as lifecycle_files
from touchline_stage_engine.adapters.kafka.commands import KafkaCustomerTopics
from touchline_stage_engine.adapters.kafka.consumer import KafkaTouchpointConsumer
from touchline_stage_engine.adapters.kafka.definitions import announce
from touchline_stage_engine.adapters.kafka.outbox_publisher import KafkaOutboxPublisher
from touchline_stage_engine.adapters.kafka.stage_change_stream import KafkaStageChangeStream
from touchline_stage_engine.adapters.kafka.topic_end_offsets import KafkaTopicEndOffsets
from touchline_stage_engine.adapters.kafka.topics import ensure_topics
from touchline_stage_engine.adapters.kafka.unread_touchpoints import KafkaUnreadTouchpoints
from touchline_stage_engine.adapters.postgres import deployment
from touchline_stage_engine.adapters.postgres.audiences.candidates import PostgresAudienceCandidates
from touchline_stage_engine.adapters.postgres.audiences.store import PostgresAudienceStore
from touchline_stage_engine.adapters.postgres.catch_up import PostgresCatchUps
from touchline_stage_engine.adapters.postgres.command_log import PostgresCommandLog
from touchline_stage_engine.adapters.postgres.definitions import PostgresDefinitions
from touchline_stage_engine.adapters.postgres.outbox import PostgresOutbox
from touchline_stage_engine.adapters.postgres.partition.lease import PostgresLease
from touchline_stage_engine.adapters.postgres.partition.row_copies import EncodeRows, compiled_encoder
from touchline_stage_engine.adapters.postgres.reads.analysis import AnalysisReads
from touchline_stage_engine.adapters.postgres.reads.customer_states import CustomerStateReads
from touchline_stage_engine.adapters.postgres.reads.customers import CustomerHistoryReads
from touchline_stage_engine.adapters.postgres.reads.explanations import ExplanationReads
from touchline_stage_engine.adapters.postgres.reads.lifecycles import LifecycleReads
from touchline_stage_engine.adapters.postgres.reads.overview import OverviewReads
from touchline_stage_engine.adapters.postgres.reads.people import CustomerListReads
from touchline_stage_engine.adapters.postgres.reads.value import ValueReads
from touchline_stage_engine.adapters.postgres.sampled_metrics import SampledMetrics
from touchline_stage_engine.adapters.postgres.simulations import PostgresSimulations
from touchline_stage_engine.adapters.postgres.summaries import CustomerSummaries
from touchline_stage_engine.adapters.processes.simulations import SimulationProcesses
from touchline_stage_engine.application.audiences.in_force import AudiencesInForce
from touchline_stage_engine.application.batches.customers import CacheBudget
from touchline_stage_engine.application.customer_commands import CustomerCommands
from touchline_stage_engine.application.definitions import Catalogue, Chosen, DefinitionsInForce, record
from touchline_stage_engine.application.hot_path import IN_PYTHON, HotPath, compiled
from touchline_stage_engine.application.partitions.catch_up import CatchUp
from touchline_stage_engine.application.partitions.context import WorkerContext, clock
from touchline_stage_engine.application.ports import OutboxPublisher, PartitionLease
from touchline_stage_engine.application.values import PartitionKey
from touchline_stage_engine.application.worker import Engine
from touchline_stage_engine.entrypoints.http import errors
from touchline_stage_engine.entrypoints.http.analysis import analysis_router
from touchline_stage_engine.entrypoints.http.audiences.routes import audiences_router
from touchline_stage_engine.entrypoints.http.customers import customer_state_router
from touchline_stage_engine.entrypoints.http.customers_reads import customer_history_router
from touchline_stage_engine.entrypoints.http.definitions.lifecycles import definitions_router
from touchline_stage_engine.entrypoints.http.definitions.simulations import simulations_router
from touchline_stage_engine.entrypoints.http.lifecycles import lifecycles_router
from touchline_stage_engine.entrypoints.http.one_customer.changes import customer_changes_router
from touchline_stage_engine.entrypoints.http.one_customer.export import customer_export_router
from touchline_stage_engine.entrypoints.http.operations import operations_router
from touchline_stage_engine.entrypoints.http.people import people_router
from touchline_stage_engine.entrypoints.http.stream import stream_router
from touchline_stage_engine.entrypoints.http.value import value_router
from touchline_stage_engine.entrypoints.worker_processes import Parent, Worker, Workers
from touchline_stage_engine.settings import StageEngineSettings

log = structlog.get_logger(__name__)

NAME = "touchline-stage-engine"
MIGRATIONS = "touchline_stage_engine.migrations"
_OBJECTS_AT_MOST = 3_000_000
"""Two large batches in six lifecycles, with their records to publish, are about a third of it."""
_ANSWER_SECONDS = 15.0
_COMPUTING_SECONDS = 0.2
"""An analysis that takes longer is answered 202, and is there when it is asked for again."""
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
        database.pool(settings, application_name=NAME, size=8, search_path=search_path(settings)) as pool,
        kafka.Admin(settings, f"{settings.topic_prefix}-stage-engine-admin") as admin,
    ):
        yield Connections(pool, admin)


def search_path(settings: StageEngineSettings) -> str:
    return f'"{settings.schema_name}"'


async def migrate(settings: StageEngineSettings) -> None:
    """Bring the tables to the newest version."""
    settings.need("database_url")
    await database.migrate(settings, package=MIGRATIONS, schema=settings.schema_name)


def definitions(settings: StageEngineSettings) -> Chosen:
    """The definitions to run, as far as files and settings say.

    Raises:
        ConfigurationError: one is wrong, or missing.
    """
    return lifecycle_files.choose(settings.names_wanted(), settings.lifecycles_dir)


def _health(open_: Connections, settings: StageEngineSettings | None = None) -> Health:
    """Checks of Kafka and PostgreSQL. Those who fold pass their settings: it says by which code."""
    health = Health()
    if settings is not None:
        health.details["hot_path"] = "python" if _compiled_steps(settings) is None else "compiled"

    async def kafka_answers() -> None:
        await kafka.answers(open_.admin)

    async def database_answers() -> None:
        await tables_answer(open_.pool)

    health.add("kafka", kafka_answers)
    health.add("database", database_answers)
    return health


def _bare_app(health: Health, metrics: Metrics, settings: StageEngineSettings | None = None) -> FastAPI:
    return build_app(
        "Touchline stage engine",
        version=metadata.version(NAME),
        about=ABOUT,
        health=health,
        metrics=metrics,
        settings=settings,
    )


def query_app(
    settings: StageEngineSettings,
    pool: asyncpg.Pool,
    engine: AsyncEngine,
    health: Health,
    metrics: Metrics,
    in_files: frozenset[str],
    simulations: SimulationProcesses,
) -> FastAPI:
    """The API: queries, definitions, audit log."""
    app = _bare_app(health, metrics, settings)
    errors.install(app)
    app.add_middleware(TimeLimit, seconds=_ANSWER_SECONDS)
    metrics.add((declared.ANALYSIS_SECONDS,))
    lifecycles, overview = LifecycleReads(engine), OverviewReads(engine)
    seconds = metrics.histogram(declared.ANALYSIS_SECONDS)
    answers = AnswerCache(
        wait_seconds=_COMPUTING_SECONDS, observe=lambda kind, took: seconds.labels(kind).observe(took)
    )
    partitions = settings.partitions
    # A route that ends in a customer id matches everything below it, so the longer routes come first.
    states, history, people = (
        CustomerStateReads(engine, partitions),
        CustomerHistoryReads(engine, partitions),
        CustomerListReads(engine),
    )
    commands = CustomerCommands(KafkaCustomerTopics(settings), PostgresCommandLog(pool, settings))
    routers = (
        customer_changes_router(commands, states, lifecycles),
        customer_export_router(states, history, people),
        customer_history_router(history, KafkaUnreadTouchpoints(settings, engine)),
        people_router(people, overview, ExplanationReads(engine, partitions), lifecycles, answers),
        analysis_router(lifecycles, AnalysisReads(engine, lifecycles), answers),
        operations_router(overview, KafkaTopicEndOffsets(settings), answers, settings, metadata.version(NAME)),
        value_router(ValueReads(engine, partitions)),
        customer_state_router(states),
        lifecycles_router(lifecycles),
        stream_router(KafkaStageChangeStream(settings)),
        console_link_router(settings.console_url),
    )
    store, audiences = PostgresDefinitions(pool), PostgresAudienceStore(pool)
    # Before the queries: /v1/lifecycles/check must not be taken for a lifecycle.
    for router in (
        definitions_router(store, lifecycles, in_files),
        simulations_router(PostgresSimulations(pool), simulations),
        audiences_router(audiences, audiences, lifecycles, partitions),
    ):
        include_guarded(app, router, only_known_parameters, change=Role.EDITOR)
    for router in (*routers, audit_router(PostgresAuditLog(pool))):
        include_guarded(app, router, only_known_parameters)
    return app


@asynccontextmanager
async def _reading(settings: StageEngineSettings) -> AsyncIterator[AsyncEngine]:
    async with database.sqlalchemy_engine(
        settings, application_name=f"{NAME} queries", search_path=search_path(settings)
    ) as engine:
        yield engine


async def _engine(
    settings: StageEngineSettings, open_: Connections, chosen: Chosen, metrics: Metrics, index: int
) -> Engine:
    """A worker's engine, once topics, tables and definitions exist."""
    inputs = await ensure_topics(open_.admin, settings)
    secret = await database.retry_at_startup(settings, lambda: deployment.check_deployment(open_.pool, settings))
    definitions_store = PostgresDefinitions(open_.pool)
    catalogue = await database.retry_at_startup(settings, lambda: record(definitions_store, chosen, clock()))
    announcing = partial(_announce, settings) if index == 0 else None
    if announcing is not None:
        await announcing(catalogue)
    worker = settings.worker(index)
    steps = _compiled_steps(settings)
    hot_path, encode_rows = steps or (IN_PYTHON, None)
    if steps is not None:
        fast_records.install()
    log.info("hot_path", compiled=steps is not None)

    async def acquire_lease(partition: int) -> PartitionLease:
        key = PartitionKey(inputs.cluster_id, inputs.touchpoints_id, inputs.identity_id, partition)
        return await PostgresLease.acquire(settings, key, worker, encode_rows)

    def outbox_publisher(lease: PartitionLease) -> OutboxPublisher:
        return KafkaOutboxPublisher(settings, lease, PostgresOutbox(open_.pool, lease.key), metrics)

    engine = Engine(
        WorkerContext(
            settings,
            DefinitionsInForce(definitions_store, chosen, catalogue, announcing),
            KafkaTouchpointConsumer(settings, inputs, worker),
            acquire_lease,
            outbox_publisher,
            metrics,
            secret,
            CatchUp(PostgresCatchUps(open_.pool, inputs.cluster_id, inputs.touchpoints_id), settings.partitions),
            CacheBudget(settings.cached_customers),
            tracing_of(settings, "stage-engine"),
            AudiencesInForce(PostgresAudienceStore(open_.pool)),
            PostgresAudienceCandidates(open_.pool),
            hot_path,
        )
    )
    SampledMetrics(open_.pool, inputs, engine.published_through, lambda: engine.definitions.catalogue.stages).install(
        metrics
    )
    return engine


def _compiled_steps(settings: StageEngineSettings) -> tuple[HotPath, EncodeRows] | None:
    """The compiled steps, unless they are turned off or not built for this Python."""
    if not settings.compiled:
        return None
    hot_path, encode_rows = compiled(), compiled_encoder()
    return None if hot_path is None or encode_rows is None else (hot_path, encode_rows)


async def _announce(settings: StageEngineSettings, catalogue: Catalogue) -> None:
    await announce(catalogue, settings, clock())


async def run(settings: StageEngineSettings) -> process.Failed | None:
    """One process: folds and serves the query API."""
    chosen = definitions(settings)
    sock = process.listen(settings.http_host, settings.http_port)
    metrics = Metrics(declared.ALL)
    async with connections(settings) as open_, _reading(settings) as reading:
        engine = await _engine(settings, open_, chosen, metrics, 0)
        health = _health(open_, settings)
        health.add("partitions", engine.check)
        simulations = SimulationProcesses(PostgresSimulations(open_.pool).fail)
        app = query_app(settings, open_.pool, reading, health, metrics, chosen.in_files, simulations)
        gc_tuning.limit_collections(_OBJECTS_AT_MOST)
        components: list[process.Component] = [
            engine,
            engine.definitions,
            engine.audiences,
            simulations,
            CustomerSummaries(open_.pool, metrics),
            AuditRetention(open_.pool, settings.audit_kept_days),
            IdleCollector(),
        ]
        return _explained(await process.run(app, sock, components, settings=settings))


async def run_workers(settings: StageEngineSettings, number: int) -> process.Failed | None:
    """A process that serves the query API and keeps ``number`` worker processes folding."""
    in_files = definitions(settings).in_files
    sock = process.listen(settings.http_host, settings.http_port)
    command = [sys.executable, "-m", "touchline_stage_engine.entrypoints.cli.main", "worker"]
    workers = Workers(Worker(index, command, process.listen("127.0.0.1", 0)) for index in range(number))
    metrics = Metrics(())
    metrics.registry.register(workers)
    async with connections(settings) as open_, _reading(settings) as reading:
        await ensure_topics(open_.admin, settings)
        health = _health(open_, settings)
        health.add("workers", workers.check)
        simulations = SimulationProcesses(PostgresSimulations(open_.pool).fail)
        app = query_app(settings, open_.pool, reading, health, metrics, in_files, simulations)
        retention = AuditRetention(open_.pool, settings.audit_kept_days)
        components: list[process.Component] = [workers, simulations, CustomerSummaries(open_.pool), retention]
        return _explained(await process.run(app, sock, components, settings=settings))


async def run_worker(settings: StageEngineSettings, index: int, sock: socket.socket) -> process.Failed | None:
    """One of several workers: folds, and answers for its health and metrics to the process that started it."""
    chosen = definitions(settings)
    metrics = Metrics(declared.ALL)
    # Its metrics are read by the process that started it, which has the operations port.
    settings = settings.model_copy(update={"metrics_port": None})
    async with connections(settings) as open_:
        engine = await _engine(settings, open_, chosen, metrics, index)
        health = _health(open_, settings)
        health.add("partitions", engine.check)
        app = _bare_app(health, metrics)
        gc_tuning.limit_collections(_OBJECTS_AT_MOST)
        components: list[process.Component] = [
            engine, engine.definitions, engine.audiences, Parent(), IdleCollector()
        ]  # fmt: skip
        return _explained(await process.run(app, sock, components, settings=settings))


async def serve(settings: StageEngineSettings) -> process.Failed | None:
    """The query API alone."""
    in_files = definitions(settings).in_files
    sock = process.listen(settings.http_host, settings.http_port)
    metrics = Metrics(())
    async with connections(settings) as open_, _reading(settings) as reading:
        await ensure_topics(open_.admin, settings)
        simulations = SimulationProcesses(PostgresSimulations(open_.pool).fail)
        app = query_app(settings, open_.pool, reading, _health(open_), metrics, in_files, simulations)
        return await process.run(app, sock, [simulations, CustomerSummaries(open_.pool)], settings=settings)


def _explained(failed: process.Failed | None) -> process.Failed | None:
    """A component that found the settings wrong ends the process with the words for it."""
    if failed is not None and isinstance(failed.error, ConfigurationError):
        raise failed.error
    return failed
