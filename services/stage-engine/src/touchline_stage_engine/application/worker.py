"""One worker process: its membership in the consumer group, and an owner for every assigned partition."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
from touchline_runtime.errors import ConfigurationError, Unavailable
from touchline_runtime.kafka.shutdown import unless_stopping
from touchline_runtime.process.repeated_faults import FaultLog

from touchline_stage_engine import metrics as declared
from touchline_stage_engine.application.audiences.in_force import AudiencesInForce
from touchline_stage_engine.application.definitions import DefinitionsInForce
from touchline_stage_engine.application.errors import Interrupted, PermanentFaultError
from touchline_stage_engine.application.partitions.batch_metrics import begin_at_zero
from touchline_stage_engine.application.partitions.context import WorkerContext
from touchline_stage_engine.application.partitions.owner import PartitionOwner

log = structlog.get_logger(__name__)

_RELEASE_SECONDS = 12.0
_RETRY_SECONDS = 2.0
_BLOCKED_RETRY_SECONDS = 10.0
"""After a fault that an operator has to end."""
_WORKED_SECONDS = 60.0
"""A membership that lasted this long had no fault: the next one is reported, whatever was reported before."""
_PARTITION_GAUGES = (declared.LAG_RECORDS, declared.OUTBOX_WAITING, declared.PARTITION_IDLE, declared.UNFOLDED_SECONDS)


class Engine:
    """The long-running component of a worker."""

    name = "engine"

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._consumer = context.consumer
        self._owners: dict[int, tuple[PartitionOwner, asyncio.Task[None]]] = {}
        self._failed: asyncio.Future[None] | None = None
        self._fault = ""
        self._ended = FaultLog(log, "session_ended")
        self._unforeseen = FaultLog(log, "session_failed", level="error")
        metrics = self._context.metrics
        # Computed at each scrape, so that they are never out of date.
        metrics.gauge(declared.PARTITIONS_OWNED).set_function(lambda: len(self._owners))
        metrics.gauge(declared.REFOLDS_PENDING).set_function(lambda: self._count(lambda owner: owner.rebuilding))
        metrics.gauge(declared.RECOVERING).set_function(lambda: self._count(lambda owner: owner.waiting))
        metrics.gauge(declared.SHARED_KEYS).set_function(
            lambda: sum(owner.shared_keys for owner, _ in self._owners.values())
        )
        metrics.gauge(declared.CACHED_CUSTOMERS).set_function(
            lambda: sum(owner.cached for owner, _ in self._owners.values())
        )
        metrics.gauge(declared.PARTITIONS).set(self._context.settings.partitions)
        self._begin_at_zero()
        self._context.definitions.on_change = self._begin_at_zero

    def _begin_at_zero(self) -> None:
        versions = self._context.catalogue.versions
        begin_at_zero(self._context.metrics, {version.definition.lifecycle for version in versions})

    @property
    def definitions(self) -> DefinitionsInForce:
        """The definitions that it folds by: a component of the same process."""
        return self._context.definitions

    @property
    def audiences(self) -> AudiencesInForce:
        """The audiences that it evaluates: a component of the same process."""
        return self._context.audiences

    def published_through(self) -> dict[int, int]:
        """Owned partition → the id of the last outbox record that is known to be published."""
        return {partition: owner.published_through for partition, (owner, _) in self._owners.items()}

    def _count(self, which: Callable[[PartitionOwner], bool]) -> int:
        return sum(1 for owner, _ in self._owners.values() if which(owner))

    async def run(self, stopping: asyncio.Event) -> None:
        """Fold until stopping; then finish the current batches and release the partitions.

        When membership in the group ends unexpectedly, the error is logged and the worker joins again.
        """
        reported = ""
        while not stopping.is_set():
            began = time.monotonic()
            try:
                await self._membership(stopping)
            except ConfigurationError:
                raise
            except Exception as error:
                again = str(error) == reported and time.monotonic() - began < _WORKED_SECONDS
                self._fault = f"{type(error).__name__}: {error}"
                reported, wait = str(error), _RETRY_SECONDS
                if isinstance(error, PermanentFaultError):
                    wait = _BLOCKED_RETRY_SECONDS
                    if not again:
                        log.error("session_blocked", error=reported, retry_seconds=wait)
                elif isinstance(error, Interrupted):
                    self._ended.failed(reported, retry_seconds=wait)
                else:
                    self._unforeseen.failed(reported or type(error).__name__, retry_seconds=wait, exc_info=error)
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await stopping.wait()

    async def _membership(self, stopping: asyncio.Event) -> None:
        """One membership of the consumer group."""
        failed = self._failed = asyncio.get_running_loop().create_future()
        watching: asyncio.Task[None] | None = None
        catching_up = asyncio.create_task(self._context.catch_up.run(stopping))
        stop = asyncio.create_task(stopping.wait())
        try:
            await unless_stopping(self._consumer.start(self._assigned, self._revoked, self._fail), stopping)
            if stopping.is_set():
                return
            watching = asyncio.create_task(self._consumer.watch(stopping, lambda: list(self._owners)))
            ends: list[asyncio.Future[Any]] = [stop, watching, failed]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            await self._release(set(self._owners))
            catching_up.cancel()
            if watching is not None:
                watching.cancel()
            await asyncio.gather(*([watching] if watching else []), catching_up, return_exceptions=True)
            await self._consumer.stop()
        if failed.done():
            failed.result()

    def _fail(self, error: Exception) -> None:
        """End this membership and join again: otherwise partitions would have no owner."""
        self._fault = f"{type(error).__name__}: {error}"
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)

    async def _assigned(self, partitions: set[int]) -> None:
        self._consumer.hold(partitions)
        metrics = self._context.metrics
        for partition in sorted(partitions):
            owner = PartitionOwner(self._context, partition)
            task = asyncio.create_task(owner.run(), name=f"partition {partition}")
            task.add_done_callback(self._owner_ended)
            self._owners[partition] = (owner, task)
            label = str(partition)
            metrics.gauge(declared.LAG_RECORDS).labels(label).set_function(partial(self._consumer.lag, partition))
            metrics.gauge(declared.OUTBOX_WAITING).labels(label).set_function(partial(_outbox_waiting, owner))
            metrics.gauge(declared.PARTITION_IDLE).labels(label).set_function(partial(_idle_seconds, owner))
            freshness = self._context.freshness
            freshness.begin(partition)
            metrics.gauge(declared.UNFOLDED_SECONDS).labels(label).set_function(partial(freshness.age, partition))
        self._fault = ""
        self._ended.over()
        self._unforeseen.over()
        self._context.cache_budget.partitions = len(self._owners)
        log.info("partitions_assigned", partitions=sorted(partitions))

    async def _revoked(self, partitions: set[int]) -> None:
        if partitions:
            log.info("partitions_revoked", partitions=sorted(partitions))
        # Eager rebalances revoke everything.
        await self._release(set(self._owners))

    async def _release(self, partitions: set[int]) -> None:
        leaving = [self._owners.pop(partition) for partition in partitions]
        self._context.cache_budget.partitions = len(self._owners)
        for partition in partitions:
            for gauge in _PARTITION_GAUGES:
                # The new owner exports them.
                with suppress(KeyError):
                    self._context.metrics.gauge(gauge).remove(str(partition))
        for owner, _ in leaving:
            owner.stop()
        tasks = [task for _, task in leaving]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_RELEASE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _owner_ended(self, task: asyncio.Task[None]) -> None:
        """An owner never ends by itself: it retries after every error."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("owner_failed", task=task.get_name(), exc_info=error)
            self._fail(error if isinstance(error, Exception) else RuntimeError(repr(error)))

    async def check(self) -> None:
        """A health check: every owned partition was recently folded, or confirmed to have nothing to fold."""
        if self._fault:
            raise Unavailable(f"not a member of the consumer group: {self._fault}")
        limit = self._context.settings.stall_seconds
        reasons: dict[str, list[int]] = {}
        for partition, (owner, _) in sorted(self._owners.items()):
            if owner.waiting:
                reasons.setdefault(owner.fault or "starting, or waiting for PostgreSQL or Kafka", []).append(partition)
            elif (idle := owner.idle_seconds) > limit:
                reasons.setdefault(f"no progress for {idle // limit * limit:g} s or more", []).append(partition)
        if reasons:
            text = "; ".join(f"partitions {partitions}: {reason}" for reason, partitions in reasons.items())
            raise Unavailable(text)


def _outbox_waiting(owner: PartitionOwner) -> int:
    return owner.outbox_waiting


def _idle_seconds(owner: PartitionOwner) -> float:
    return owner.idle_seconds
