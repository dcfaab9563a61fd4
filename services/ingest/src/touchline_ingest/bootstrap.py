"""The composition root: the only module that connects use cases, adapters and entry points."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from touchline_runtime.config.secrets import SecretReader, relative_to
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.metrics import Metrics
from touchline_runtime.process.health import Health
from touchline_runtime.process.run import Component
from touchline_runtime.tracing import Tracing, tracing_of

from touchline_ingest import metrics as declared
from touchline_ingest.adapters.files.history_file import HistoryFile, ProgressFile
from touchline_ingest.adapters.files.sources_document import SourcesDocumentFile
from touchline_ingest.adapters.files.sources_watch import REMEDY, SourcesWatch, load_sources
from touchline_ingest.adapters.files.text_encoding import known_encoding
from touchline_ingest.adapters.http.fetcher import HttpsFetcher
from touchline_ingest.adapters.in_flight import InFlight
from touchline_ingest.adapters.kafka.dead_letters import KafkaDeadLetters
from touchline_ingest.adapters.kafka.producer import KafkaPublisher
from touchline_ingest.adapters.traces.publisher import TracedPublisher
from touchline_ingest.application.body_budget import BodyBudget
from touchline_ingest.application.keys import KeyManager
from touchline_ingest.application.ports import DeadLetters, Fetcher, Publisher
from touchline_ingest.application.receive import Receiver
from touchline_ingest.application.vendor_requests import VendorRequestHandler
from touchline_ingest.core.access.configured_sources import Sources
from touchline_ingest.core.sources.registry import ENTRY_POINT_GROUP, Registry, build_registry
from touchline_ingest.settings import IngestSettings

if TYPE_CHECKING:
    # Command lines without an HTTP server need not import the framework, which takes half a second.
    from fastapi import FastAPI


@dataclass(frozen=True)
class Service:
    """A service that is ready to run."""

    app: "FastAPI"
    components: list[Component]


def registry() -> Registry:
    """All kinds of sources, those of installed packages too."""
    return build_registry(metadata.entry_points(group=ENTRY_POINT_GROUP))


def build(settings: IngestSettings) -> Service:
    """The service on Kafka.

    Raises:
        ConfigurationError: the sources file can't be used, or a setting is missing.
    """
    settings.need("kafka_bootstrap_servers")
    metrics = Metrics(declared.ALL)

    def show(in_flight: InFlight) -> None:
        metrics.gauge(declared.IN_FLIGHT_RECORDS).set_function(lambda: in_flight.records)
        metrics.gauge(declared.IN_FLIGHT_BYTES).set_function(lambda: in_flight.bytes)

    publisher = KafkaPublisher(settings, watch=show)
    tracing = tracing_of(settings, "ingest")
    traced = publisher if tracing is None else TracedPublisher(publisher, tracing)
    app, watch = application(settings, traced, metrics, tracing=tracing)
    return Service(app, [publisher, watch])


def application(
    settings: IngestSettings,
    publisher: Publisher,
    metrics: Metrics,
    fetcher: Fetcher | None = None,
    *,
    tracing: Tracing | None = None,
) -> tuple["FastAPI", SourcesWatch]:
    """The HTTP application on any publisher, and the component that keeps its sources up to date.

    Raises:
        ConfigurationError: no sources file is configured, or it can't be used.
    """
    from touchline_ingest.entrypoints.http.app import ingest_app
    from touchline_ingest.entrypoints.http.request_reader import RequestReader
    from touchline_ingest.entrypoints.http.vendors import VendorEndpoints

    if settings.sources_file is None:
        raise ConfigurationError(REMEDY)
    kinds = registry()
    watch = SourcesWatch(settings.sources_file, kinds, metrics, every=settings.sources_reload_seconds)
    receiver = Receiver(
        sources=lambda: watch.sources,
        publisher=publisher,
        metrics=metrics,
        limits=settings.limits(),
        auth_failure_rate=settings.auth_failure_rate(),
    )
    budget = BodyBudget(settings.max_reading_bytes)
    reader = RequestReader(receiver, budget=budget, body_timeout=settings.body_timeout_seconds)
    handler = VendorRequestHandler(receiver, fetcher or HttpsFetcher())
    health = Health()
    health.add("kafka", publisher.check)
    app = ingest_app(
        reader,
        VendorEndpoints(reader, handler, kinds, metrics, public_url=settings.own_public_url()),
        version=metadata.version("touchline-ingest"),
        health=health,
        metrics=metrics,
        settings=settings,
        dead_letters=dead_letters(settings) if settings.kafka_bootstrap_servers else None,
        tracing=tracing,
    )
    return app, watch


@asynccontextmanager
async def connected(settings: IngestSettings) -> AsyncIterator[KafkaPublisher]:
    """A publisher for a command line: connected inside the block, flushed and closed after it.

    Raises:
        Unavailable: no broker answered within the start-up time.
    """
    publisher = KafkaPublisher(settings)
    stopping = asyncio.Event()
    running = asyncio.create_task(publisher.run(stopping))
    waiting = asyncio.create_task(publisher.connected.wait())
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if running.done():
        await running
    try:
        yield publisher
    finally:
        stopping.set()
        await running


def dead_letters(settings: IngestSettings) -> DeadLetters:
    """The dead letters on Kafka."""
    return KafkaDeadLetters(settings)


def fetcher() -> Fetcher:
    """Fetches certificates over HTTPS."""
    return HttpsFetcher()


def configured_sources(file: Path) -> Sources:
    """The sources in a file.

    Raises:
        ConfigurationError: it can't be read or used.
    """
    return load_sources(file, registry())


def key_manager(file: Path, *, create: bool) -> KeyManager:
    """Changes the keys in a sources file."""
    document = SourcesDocumentFile(file, create=create)
    return KeyManager(document, registry(), SecretReader(os.environ, relative_to(file)))


def history_file(file: Path, format: str | None, encoding: str | None) -> HistoryFile:  # noqa: A002
    """A history file.

    Raises:
        ConfigurationError: it can't be read, or is not text in that encoding.
    """
    return HistoryFile(file, format, known_encoding(encoding))


def progress_file(file: Path) -> ProgressFile:
    """The progress of importing a history file."""
    return ProgressFile(file)
