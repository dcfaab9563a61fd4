"""Puts together what the command lines need: the tables, the request topics, files."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from touchline_runtime.audit.command_line import command_line_actor
from touchline_runtime.database import pools as database
from touchline_runtime.kafka import clients as kafka
from touchline_runtime.publishing.publication import Publication

from touchline_stage_engine import bootstrap
from touchline_stage_engine.adapters.files.history_file import HistoryFile
from touchline_stage_engine.adapters.files.lifecycles import LifecycleFiles
from touchline_stage_engine.adapters.files.play_triggers import read_triggers
from touchline_stage_engine.adapters.kafka import commands
from touchline_stage_engine.adapters.kafka.repartitioning import KafkaRepartitionTopics
from touchline_stage_engine.adapters.postgres import erasure_receipts
from touchline_stage_engine.adapters.postgres.definitions import PostgresDefinitions
from touchline_stage_engine.adapters.postgres.recorded_history import RecordedHistory
from touchline_stage_engine.adapters.postgres.repartitioning import PostgresRepartitionTables
from touchline_stage_engine.adapters.postgres.simulations import PostgresSimulationRecord, PostgresSimulations
from touchline_stage_engine.adapters.postgres.stored_history import PostgresStoredHistory
from touchline_stage_engine.application import publishing, simulation, simulations
from touchline_stage_engine.application import repartition as repartitioning
from touchline_stage_engine.application.partitions.context import clock
from touchline_stage_engine.application.publishing import Draft
from touchline_stage_engine.application.queries.values import ErasureProgress, KnownKey
from touchline_stage_engine.application.simulation import SimulationRequest, SimulationResult
from touchline_stage_engine.settings import StageEngineSettings


async def erase(
    settings: StageEngineSettings, customer_id: str, wait_seconds: float | None
) -> tuple[KnownKey, UUID, ErasureProgress | None]:
    """Send the request to erase a customer, and wait for its end if asked to.

    Returns:
        What was known of the id before, the receipt, and what was removed (None when not waited for).
    """
    receipt = uuid4()
    async with _tables(settings) as pool:
        known = await erasure_receipts.find_key(pool, settings, customer_id)
        await commands.request_erasure(settings, customer_id, receipt, clock())
        if wait_seconds is None:
            return known, receipt, None
        return known, receipt, await erasure_receipts.wait_until_erased(pool, receipt, wait_seconds)


async def erasure(settings: StageEngineSettings, receipt: UUID) -> ErasureProgress:
    """What an erasure has removed so far."""
    async with _tables(settings) as pool:
        return await erasure_receipts.progress(pool, receipt)


@asynccontextmanager
async def _tables(settings: StageEngineSettings) -> AsyncIterator[asyncpg.Pool]:
    """A small pool for a command line."""
    if settings.auto_migrate:
        await bootstrap.migrate(settings)
    async with database.pool(
        settings, application_name=f"{bootstrap.NAME} command", size=1, search_path=bootstrap.search_path(settings)
    ) as pool:
        yield pool


async def rebuild(settings: StageEngineSettings) -> None:
    """Send the request to fold all customers again."""
    await commands.request_rebuild(settings, clock())


async def repartition(
    settings: StageEngineSettings, partitions: int, progress: repartitioning.Progress
) -> repartitioning.Repartitioned | None:
    """Change the number of partitions; None: there is nothing to do."""
    settings.need("kafka_bootstrap_servers", "database_url")
    if settings.auto_migrate:
        await bootstrap.migrate(settings)
    name, path = "touchline repartition", bootstrap.search_path(settings)
    async with (
        database.pool(settings, application_name=name, size=2, search_path=path, limited=False) as pool,
        kafka.Admin(settings, f"{settings.topic_prefix}-repartition-admin") as admin,
    ):
        topics = KafkaRepartitionTopics(settings, admin)
        return await repartitioning.repartition(topics, PostgresRepartitionTables(pool), partitions, progress)


async def simulate(
    settings: StageEngineSettings, request: SimulationRequest, progress: simulation.Progress
) -> SimulationResult:
    """Simulate a lifecycle definition over a history file or over the engine's tables."""
    files = LifecycleFiles(settings.lifecycles_dir)
    candidate = files.read(request.candidate)
    triggers = [] if request.plays is None else read_triggers(request.plays)

    async def over(history: simulation.History) -> SimulationResult:
        limit = settings.shared_key_limit
        return await simulation.simulate(request, candidate, triggers, history, files, limit, progress)

    if request.touchpoints is not None:
        with HistoryFile.open(request.touchpoints) as history_file:
            return await over(history_file)
    async with RecordedHistory.open(settings) as recorded:
        return await over(recorded)


async def publish(settings: StageEngineSettings, name: str, asked: Mapping[str, Any]) -> Publication:
    """Publish a definition; ``asked`` has the fields of the API's request.

    Raises:
        PublicationRefusedError: another version is in force than the draft's base, or it is managed by a file.
    """
    header = {key: asked[key] for key in ("on_change", "effective_from") if asked.get(key) is not None}
    draft = Draft(name, asked["definition"], asked["comment"], asked["base"], header)
    in_files = bootstrap.definitions(settings).in_files
    async with _tables(settings) as pool:
        return await publishing.publish(PostgresDefinitions(pool), draft, command_line_actor(), clock(), in_files)


async def definition_in_force(settings: StageEngineSettings, name: str) -> tuple[int, str] | None:
    """Number and text of the version in force of a lifecycle; None: it does not run."""
    async with _tables(settings) as pool:
        versions, _ = await PostgresDefinitions(pool).load([name])
    present = publishing.in_force(versions)
    return None if present is None else (present.version, present.text)


async def run_simulation(settings: StageEngineSettings, simulation_id: UUID, stopping: asyncio.Event) -> None:
    """Run a simulation that was asked for through the API; end early when it is cancelled or stopping is set."""
    path = bootstrap.search_path(settings)
    async with database.pool(
        settings, application_name="touchline simulation", size=2, search_path=path, limited=False
    ) as pool:
        store = PostgresSimulations(pool)
        order = await store.order(simulation_id)
        if order is None:
            return
        work = asyncio.create_task(
            simulations.run(order, PostgresStoredHistory(pool), PostgresSimulationRecord(pool, simulation_id))
        )
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not work.done():
            work.cancel()
            await asyncio.wait({work})
            await store.fail(simulation_id, "the process that it belongs to has ended: start it again")
            return
        error = work.exception()
        if error is not None and not isinstance(error, simulations.CancelledError):
            await store.fail(simulation_id, f"{type(error).__name__}: {error}")
            raise error
