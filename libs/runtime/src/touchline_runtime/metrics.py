"""Metrics as a closed list: each service declares all of its metrics in one file, each with a line of advice.

A declaration is data (:class:`Counter`, :class:`Gauge`, :class:`Histogram`); :class:`Metrics` creates the metrics on a
registry of its own, so that two services, or two tests, in one process never share a count.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import prometheus_client as prometheus
from prometheus_client import CollectorRegistry

from touchline_runtime.scraping import Read, Readers


@dataclass(frozen=True)
class Declared:
    """One metric.

    Attributes:
        name: with the unit as its last word, as Prometheus wants it (``…_seconds``, ``…_bytes``); counters without
            their ``_total``.
        about: what it counts or measures.
        advice: what an operator should do when it looks wrong.
        labels: label names; every one has few values, never a customer.
    """

    name: str
    about: str
    advice: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Counter(Declared):
    """Only rises."""


@dataclass(frozen=True)
class Gauge(Declared):
    """Rises and falls.

    Attributes:
        across: how the values of several processes, or of several partitions, make one.
    """

    across: Literal["sum", "max", "min"] = "sum"


@dataclass(frozen=True)
class Sampled(Gauge):
    """A gauge that is read at each scrape, and absent while it can't be read."""


@dataclass(frozen=True)
class Histogram(Declared):
    """A distribution."""

    buckets: tuple[float, ...] = field(
        default=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
    )


def declared_in(names: Mapping[str, object]) -> list[Declared]:
    """The declarations among a module's names (``vars(module)``), in the order they are written."""
    found = {id(value): value for value in names.values() if isinstance(value, Declared)}
    return list(found.values())


class Metrics:
    """The declared metrics of one process, on a registry of its own."""

    def __init__(self, declared: Iterable[Declared]) -> None:
        # A second series for every counter, of when it was made, which no rule of ours asks for.
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry(auto_describe=True)
        prometheus.ProcessCollector(registry=self.registry)
        prometheus.PlatformCollector(registry=self.registry)
        prometheus.GCCollector(registry=self.registry)
        self._counters: dict[str, prometheus.Counter] = {}
        self._gauges: dict[str, prometheus.Gauge] = {}
        self._histograms: dict[str, prometheus.Histogram] = {}
        self._readers = Readers()
        self.registry.register(self._readers)
        self.add(declared)

    def add(self, declared: Iterable[Declared]) -> None:
        """Create the metrics of further declarations; existing ones stay."""
        there = {*self._counters, *self._gauges, *self._histograms, *self._readers.names}
        for metric in declared:
            if metric.name in there:
                continue
            if isinstance(metric, Sampled):
                self._readers.declare(metric)
            elif isinstance(metric, Counter):
                self._counters[metric.name] = prometheus.Counter(
                    metric.name, metric.about, metric.labels, registry=self.registry
                )
            elif isinstance(metric, Histogram):
                self._histograms[metric.name] = prometheus.Histogram(
                    metric.name, metric.about, metric.labels, buckets=metric.buckets, registry=self.registry
                )
            else:
                self._gauges[metric.name] = prometheus.Gauge(
                    metric.name, metric.about, metric.labels, registry=self.registry
                )

    def counter(self, metric: Counter) -> prometheus.Counter:
        """The live counter of a declaration."""
        return self._counters[metric.name]

    def gauge(self, metric: Gauge) -> prometheus.Gauge:
        """The live gauge of a declaration."""
        return self._gauges[metric.name]

    def histogram(self, metric: Histogram) -> prometheus.Histogram:
        """The live histogram of a declaration."""
        return self._histograms[metric.name]

    def read_when_scraped(self, read: Read, *, at_least_seconds: float = 2.0, at_most_seconds: float = 5.0) -> None:
        """Read figures at each scrape.

        Args:
            read: returns a value for each set of labels, of any of the declared :class:`Sampled`.
            at_least_seconds: between two reads; more when a read takes long.
            at_most_seconds: of one read. While it runs, the figures of the one before are exported.
        """
        self._readers.add(read, at_least_seconds, at_most_seconds)

    async def scraped(self) -> bytes:
        """All metrics in Prometheus' text format, read now."""
        await self._readers.refresh()
        return self.exposition()

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format, as last read."""
        return prometheus.generate_latest(self.registry)


CONTENT_TYPE = prometheus.CONTENT_TYPE_LATEST
