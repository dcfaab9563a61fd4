"""Metrics that are read at each scrape: from a database, or from what a process owns at that time.

A reader is an async function that returns its figures. It has a least interval, however often
Prometheus scrapes, and the interval grows with its duration. While it fails, its figures are absent, because an old
value looks like a fresh one; so a failed read is repeated sooner than a slow one.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from touchline_runtime.metrics import Sampled

log = structlog.get_logger(__name__)

Samples = Mapping[tuple[str, ...], float]
"""Label values, in the order of the declaration → the figure. ``{(): 1.0}`` for one without labels."""

Read = Callable[[], Awaitable[Mapping["Sampled", Samples]]]

_WAIT_SECONDS = 1.5
"""How long a scrape waits for a read; what takes longer is there at the next scrape."""
_SHARE = 50
"""A read that took a second is not repeated for this many seconds."""
_SHARE_FAILED = 2
"""The same of a read that failed: a time-out says nothing about what the next one costs."""


@dataclass
class Reader:
    """One reader, and its last result.

    Attributes:
        at_least_seconds: between the end of one read and the start of the next.
        at_most_seconds: of one read; it is cancelled then, and its figures are absent.
    """

    read: Read
    at_least_seconds: float
    at_most_seconds: float
    samples: dict["Sampled", Samples] = field(default_factory=dict)
    _task: asyncio.Task[None] | None = None
    _again_at: float = 0.0
    _failing: bool = False

    async def refresh(self) -> None:
        """Read, unless that was done a moment ago."""
        if self._task is None:
            if time.monotonic() < self._again_at:
                return
            self._task = asyncio.create_task(self._run(), name="metrics-reader")
        done, _ = await asyncio.wait({self._task}, timeout=_WAIT_SECONDS)
        if done:
            self._task = None

    async def _run(self) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(self.at_most_seconds):
                self.samples = dict(await self.read())
        except Exception as error:  # on any error, a scrape returns the other metrics
            self.samples = {}
            if not self._failing:
                log.warning("metrics_not_read", reader=self.read.__qualname__, error=f"{type(error).__name__}: {error}")
            self._failing = True
        else:
            self._failing = False
        ended = time.monotonic()
        share = _SHARE_FAILED if self._failing else _SHARE
        self._again_at = ended + max(self.at_least_seconds, share * (ended - began))


class Readers(Collector):
    """All readers of a process, as a Prometheus collector of their last results."""

    def __init__(self) -> None:
        self._declared: list[Sampled] = []
        self._readers: list[Reader] = []
        self._turn = asyncio.Lock()

    @property
    def names(self) -> set[str]:
        """Of everything declared."""
        return {metric.name for metric in self._declared}

    def declare(self, metric: "Sampled") -> None:
        """Have the exposition describe a figure."""
        self._declared.append(metric)

    def add(self, read: Read, at_least_seconds: float, at_most_seconds: float) -> None:
        """Have figures read at a scrape."""
        self._readers.append(Reader(read, at_least_seconds, at_most_seconds))

    async def refresh(self) -> None:
        """Run the readers that are due. Scrapes at the same time share one run."""
        if not self._readers:
            return
        async with self._turn:
            await asyncio.gather(*(reader.refresh() for reader in self._readers))

    def collect(self) -> Iterator[Metric]:
        """Every declared figure, those without a value too: the exposition then still describes them."""
        for declared in self._declared:
            family = GaugeMetricFamily(declared.name, declared.about, labels=declared.labels)
            for reader in self._readers:
                for labels, value in reader.samples.get(declared, {}).items():
                    family.add_metric(labels, value)
            yield family
