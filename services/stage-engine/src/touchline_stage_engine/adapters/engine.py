"""One worker process: its place in the consumer group, and an owner for every partition it is assigned."""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from touchline_runtime.errors import Unavailable

from touchline_stage_engine import metrics as declared
from touchline_stage_engine.adapters.intake import Intake
from touchline_stage_engine.adapters.owner import PartitionOwner, Shared

log = structlog.get_logger(__name__)

_LET_GO_SECONDS = 12.0


class Engine:
    """The long-running component of a worker."""

    name = "engine"

    def __init__(self, share: Callable[[Intake], Shared], intake: Intake) -> None:
        self._intake = intake
        self._shared = share(intake)
        self._owners: dict[int, tuple[PartitionOwner, asyncio.Task[None]]] = {}
        self._failed: asyncio.Future[None] | None = None
        metrics = self._shared.metrics
        # Looked up when somebody asks, so that nobody has to keep them in step.
        metrics.gauge(declared.REFOLDS_PENDING).set_function(lambda: self._count(lambda owner: owner.sweeping))
        metrics.gauge(declared.RECOVERING).set_function(lambda: self._count(lambda owner: owner.waiting))
        metrics.gauge(declared.CACHED_CUSTOMERS).set_function(
            lambda: sum(owner.cached for owner, _ in self._owners.values())
        )

    def _count(self, which: Callable[[PartitionOwner], bool]) -> int:
        return sum(1 for owner, _ in self._owners.values() if which(owner))

    async def run(self, stopping: asyncio.Event) -> None:
        """Fold until stopping; then finish the batches in hand and let the partitions go."""
        self._failed = asyncio.get_running_loop().create_future()
        await self._intake.start(self._assigned, self._revoked)
        watching = asyncio.create_task(self._intake.watch(stopping, lambda: list(self._owners)))
        stop = asyncio.create_task(stopping.wait())
        try:
            ends: list[asyncio.Future[Any]] = [stop, watching, self._failed]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            await self._let_go(set(self._owners))
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await self._intake.stop()
        if self._failed.done():
            self._failed.result()

    async def _assigned(self, partitions: set[int]) -> None:
        self._intake.hold(partitions)
        for partition in sorted(partitions):
            owner = PartitionOwner(self._shared, partition)
            task = asyncio.create_task(owner.run(), name=f"partition {partition}")
            task.add_done_callback(self._owner_ended)
            self._owners[partition] = (owner, task)
        self._shared.metrics.gauge(declared.PARTITIONS_OWNED).set(len(self._owners))
        log.info("partitions_assigned", partitions=sorted(partitions))

    async def _revoked(self, partitions: set[int]) -> None:
        if partitions:
            log.info("partitions_revoked", partitions=sorted(partitions))
        # Eager rebalances revoke everything.
        await self._let_go(set(self._owners))

    async def _let_go(self, partitions: set[int]) -> None:
        leaving = [self._owners.pop(partition) for partition in partitions]
        for owner, _ in leaving:
            owner.stop()
        tasks = [task for _, task in leaving]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_LET_GO_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._shared.metrics.gauge(declared.PARTITIONS_OWNED).set(len(self._owners))

    def _owner_ended(self, task: asyncio.Task[None]) -> None:
        """An owner never ends by itself: an error that nobody foresaw ends the process, and its restart begins anew."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.error("owner_failed", task=task.get_name(), exc_info=error)
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)

    async def check(self) -> None:
        """A health check: no owned partition waits for the database or Kafka."""
        waiting = sorted(partition for partition, (owner, _) in self._owners.items() if owner.waiting)
        if waiting:
            raise Unavailable(f"partitions {waiting} wait for PostgreSQL or Kafka")
