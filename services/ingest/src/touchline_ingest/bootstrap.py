"""The one place where the ingest service is put together."""

from dataclasses import dataclass
from importlib import metadata

from fastapi import FastAPI
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.health import Health
from touchline_runtime.metrics import Metrics
from touchline_runtime.process import Component

from touchline_ingest import metrics as declared
from touchline_ingest.adapters.in_flight import InFlight
from touchline_ingest.adapters.kafka_publisher import KafkaPublisher
from touchline_ingest.adapters.publisher import Publisher
from touchline_ingest.adapters.sources_watch import REMEDY, SourcesWatch
from touchline_ingest.core.sources.registry import ENTRY_POINT_GROUP, Registry, build_registry
from touchline_ingest.entrypoints.app import ingest_app
from touchline_ingest.entrypoints.reception import Reception
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
    watch = sources(settings, metrics)

    def show(in_flight: InFlight) -> None:
        metrics.gauge(declared.IN_FLIGHT_RECORDS).set_function(lambda: in_flight.records)
        metrics.gauge(declared.IN_FLIGHT_BYTES).set_function(lambda: in_flight.bytes)

    publisher = KafkaPublisher(settings, watch=show)
    return Service(application(settings, watch, publisher, metrics), [publisher, watch])


def sources(settings: IngestSettings, metrics: Metrics) -> SourcesWatch:
    """The sources of the configured file.

    Raises:
        ConfigurationError: no file is configured, or it is not usable.
    """
    if settings.sources_file is None:
        raise ConfigurationError(REMEDY)
    return SourcesWatch(settings.sources_file, registry(), metrics, every=settings.sources_reload_seconds)


def application(settings: IngestSettings, watch: SourcesWatch, publisher: Publisher, metrics: Metrics) -> FastAPI:
    """The doors in front of any publisher."""
    reception = Reception(
        book=lambda: watch.book,
        publisher=publisher,
        metrics=metrics,
        limits=settings.limits(),
        body_timeout=settings.body_timeout_seconds,
        reading_bytes=settings.max_reading_bytes,
    )
    health = Health()
    health.add("kafka", publisher.check)
    return ingest_app(reception, version=metadata.version("touchline-ingest"), health=health, metrics=metrics)
