"""The one place where the ingest service is put together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import metadata

from fastapi import FastAPI
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.health import Health
from touchline_runtime.metrics import Metrics
from touchline_runtime.process import Component

from touchline_ingest import metrics as declared
from touchline_ingest.adapters.fetching import Fetcher
from touchline_ingest.adapters.in_flight import InFlight
from touchline_ingest.adapters.kafka_publisher import KafkaPublisher
from touchline_ingest.adapters.publisher import Publisher
from touchline_ingest.adapters.sources_watch import REMEDY, SourcesWatch
from touchline_ingest.core.sources.registry import ENTRY_POINT_GROUP, Registry, build_registry
from touchline_ingest.entrypoints.app import ingest_app
from touchline_ingest.entrypoints.reception import Reception
from touchline_ingest.entrypoints.relay import Relay
from touchline_ingest.settings import IngestSettings


@dataclass(frozen=True)
class Service:
    """A service ready to run."""

    app: FastAPI
    components: list[Component]


def registry() -> Registry:
    """All kinds of sources, those of installed packages too."""
    return build_registry(metadata.entry_points(group=ENTRY_POINT_GROUP))


def build(settings: IngestSettings) -> Service:
    """The service on Kafka.

    Raises:
        ConfigurationError: there is no usable sources file, or a setting is missing.
    """
    settings.need("kafka_bootstrap_servers")
    metrics = Metrics(declared.ALL)

    def show(in_flight: InFlight) -> None:
        metrics.gauge(declared.IN_FLIGHT_RECORDS).set_function(lambda: in_flight.records)
        metrics.gauge(declared.IN_FLIGHT_BYTES).set_function(lambda: in_flight.bytes)

    publisher = KafkaPublisher(settings, watch=show)
    app, watch = application(settings, publisher, metrics)
    return Service(app, [publisher, watch])


def application(
    settings: IngestSettings, publisher: Publisher, metrics: Metrics, fetcher: Fetcher | None = None
) -> tuple[FastAPI, SourcesWatch]:
    """The doors in front of any publisher, and what keeps their sources up to date.

    Raises:
        ConfigurationError: no sources file is configured, or it is not usable.
    """
    if settings.sources_file is None:
        raise ConfigurationError(REMEDY)
    kinds = registry()
    watch = SourcesWatch(settings.sources_file, kinds, metrics, every=settings.sources_reload_seconds)
    reception = Reception(
        book=lambda: watch.book,
        publisher=publisher,
        metrics=metrics,
        limits=settings.limits(),
        body_timeout=settings.body_timeout_seconds,
        reading_bytes=settings.max_reading_bytes,
        stranger_rate=settings.stranger_rate(),
    )
    relay = Relay(reception, fetcher or Fetcher(), public_url=settings.public_url)
    health = Health()
    health.add("kafka", publisher.check)
    version = metadata.version("touchline-ingest")
    return ingest_app(reception, relay, kinds, version=version, health=health, metrics=metrics), watch


@asynccontextmanager
async def connected(settings: IngestSettings) -> AsyncIterator[KafkaPublisher]:
    """A publisher for a command line: connected inside, flushed and closed afterwards.

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
