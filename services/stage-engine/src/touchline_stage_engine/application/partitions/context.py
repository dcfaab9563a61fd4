"""What the partitions of one process have in common."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import structlog
from touchline_runtime.metrics import Metrics
from touchline_runtime.process.repeated_events import EventLog
from touchline_runtime.process.repeated_faults import FaultLog
from touchline_runtime.tracing import Tracing

from touchline_stage_engine.application.audiences.in_force import AudiencesInForce
from touchline_stage_engine.application.audiences.ports import AudienceCandidates
from touchline_stage_engine.application.batches.customers import CacheBudget
from touchline_stage_engine.application.definitions import Catalogue, DefinitionsInForce
from touchline_stage_engine.application.hot_path import IN_PYTHON, HotPath
from touchline_stage_engine.application.partitions.catch_up import CatchUp
from touchline_stage_engine.application.partitions.freshness import Freshness
from touchline_stage_engine.application.ports import OutboxPublisher, PartitionLease, TouchpointConsumer
from touchline_stage_engine.settings import StageEngineSettings

log = structlog.get_logger(__name__)

_LARGE_BATCHES_AT_ONCE = 2


class PartitionFaults:
    """The log of what keeps partitions from being folded: one for all partitions of a process."""

    def __init__(self) -> None:
        self.fenced = FaultLog(log, "fenced", sources="partitions")
        self.interrupted = FaultLog(log, "partition_interrupted", sources="partitions")
        self.publishing = FaultLog(log, "outbox_publish_failed", sources="partitions")
        self.failed = FaultLog(log, "partition_failed", sources="partitions", level="error")

    def over(self, partition: int) -> None:
        """A partition is folded."""
        for faults in self._all():
            faults.over(partition)

    def released(self, partition: int) -> None:
        """A partition is no longer this process's."""
        for faults in self._all():
            faults.released(partition)

    def _all(self) -> tuple[FaultLog, ...]:
        return self.fenced, self.interrupted, self.publishing, self.failed


@dataclass(frozen=True)
class WorkerContext:
    """Settings, ports and shared state of one process.

    Attributes:
        acquire_lease: takes a partition (by number) from its present owner.
        outbox_publisher: makes the publisher of a lease's partition.
        turns: limits large batches in progress: one is folded while the database works for the other; more would only
            take memory. Small batches do not wait.
        audience_candidates: None: no audience is evaluated.
    """

    settings: StageEngineSettings
    definitions: DefinitionsInForce
    consumer: TouchpointConsumer
    acquire_lease: Callable[[int], Coroutine[Any, Any, PartitionLease]]
    outbox_publisher: Callable[[PartitionLease], OutboxPublisher]
    metrics: Metrics
    erasure_secret: bytes
    catch_up: CatchUp
    cache_budget: CacheBudget
    tracing: Tracing | None = None
    audiences: AudiencesInForce = field(default_factory=AudiencesInForce)
    audience_candidates: AudienceCandidates | None = None
    hot_path: HotPath = IN_PYTHON
    freshness: Freshness = field(default_factory=Freshness)
    faults: PartitionFaults = field(default_factory=PartitionFaults)
    conflicts: EventLog = field(default_factory=lambda: EventLog(log, "touchpoint_conflict"))
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_LARGE_BATCHES_AT_ONCE))

    @property
    def catalogue(self) -> Catalogue:
        """The definitions in force now."""
        return self.definitions.catalogue


def clock() -> int:
    """Now, in microseconds since the epoch."""
    return time.time_ns() // 1000
