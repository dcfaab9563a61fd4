"""A partition's owner: acquires its lease, reads it from the stored position, folds and publishes; and starts over
whenever that is interrupted, until it is told to stop."""

import asyncio
import random
import time

import structlog
from touchline_runtime.kafka.shutdown import unless_stopping

from touchline_stage_engine import metrics as declared
from touchline_stage_engine.application.errors import FencedError, Interrupted, PermanentFaultError
from touchline_stage_engine.application.partitions.context import WorkerContext
from touchline_stage_engine.application.partitions.session import PartitionSession
from touchline_stage_engine.application.ports import OutboxPublisher

log = structlog.get_logger(__name__)

_LONGEST_WAIT = 5.0
_SLOW_RETRY = 30.0
_FLUSH_SECONDS = 5.0
_WORKED_SECONDS = 10.0
"""A session that lasts this long works: what ended the one before is over."""


class PartitionOwner:
    """Folds and publishes one partition for as long as it is assigned to this process."""

    def __init__(self, context: WorkerContext, partition: int) -> None:
        self._context = context
        self.partition = partition
        self._stop = asyncio.Event()
        self.waiting = True
        """Whether it is not folding: starting, or waiting for the database or Kafka to come back."""
        self.fault = ""
        """Why it is not folding, as far as that is known."""
        self._started_at = time.monotonic()
        self._session: PartitionSession | None = None
        self._publisher: OutboxPublisher | None = None
        """The last one, closed or not: what it has not published still waits."""
        self._last_error: Exception | None = None
        self._publishing_failed = False

    @property
    def rebuilding(self) -> bool:
        """Whether customers are still being folded again under new definitions."""
        return self._session is not None and self._session.rebuilding

    @property
    def cached(self) -> int:
        """Customers in memory."""
        return 0 if self._session is None else self._session.cached

    @property
    def idle_seconds(self) -> float:
        """Seconds since the last commit, or since it was last confirmed that there is nothing to fold."""
        return time.monotonic() - (self._started_at if self._session is None else self._session.progress_at)

    @property
    def outbox_waiting(self) -> int:
        """Records committed and not published yet."""
        return 0 if self._publisher is None else self._publisher.unpublished

    @property
    def shared_keys(self) -> int:
        """Keys that too many customers name."""
        return 0 if self._session is None else self._session.shared_keys

    @property
    def published_through(self) -> int:
        """The id of the last record that is known to be published; 0: unknown."""
        return 0 if self._publisher is None else self._publisher.published_through

    def stop(self) -> None:
        """Finish the current batch, publish it, and release the partition."""
        self._stop.set()

    async def run(self) -> None:
        """Own the partition until told to stop."""
        try:
            await self._keep_owning()
        finally:
            self._context.faults.released(self.partition)

    async def _keep_owning(self) -> None:
        wait = 0.0
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                await self._own()
                self.fault = ""
            except FencedError as error:
                # Another process acquired the lease later. If the partition is assigned to this process, that one was
                # only slow to notice: after a short wait the lease can be acquired again.
                self._publisher = None
                self._context.metrics.counter(declared.FENCED).inc()
                self._context.faults.fenced.failed(str(error), source=self.partition, reason="fenced")
                wait = max(wait, 0.25)
            except Interrupted as error:
                self._report(error)
                wait = max(wait, 0.1)
            except Exception as error:
                self._report(error)
                wait = max(wait, 1.0)
            self.waiting = True
            permanent = isinstance(self._last_error, PermanentFaultError)
            if time.monotonic() - began > 30 and not permanent:
                wait = 0.1
            wait = _SLOW_RETRY if permanent else min(wait * 2, _LONGEST_WAIT)
            try:
                async with asyncio.timeout(wait * random.uniform(0.5, 1.0)):  # noqa: S311  (jitter, no secret)
                    await self._stop.wait()
            except TimeoutError:
                pass

    def _report(self, error: Exception) -> None:
        """Log why the partition is not folded; a permanent fault once, with what to do about it."""
        text = str(error) or type(error).__name__
        again, self.fault, self._last_error = text == self.fault, text, error
        if isinstance(error, PermanentFaultError):
            if not again:
                log.error("partition_blocked", partition=self.partition, error=text, retry_seconds=_SLOW_RETRY)
            return
        faults = self._context.faults
        # The same fault of several partitions has one reason.
        reason = text.replace(f"partition {self.partition}", "a partition")
        if isinstance(error, Interrupted):
            log_of_kind = faults.publishing if self._publishing_failed else faults.interrupted
            log_of_kind.failed(text, source=self.partition, reason=reason, kind=type(error).__name__)
        else:
            faults.failed.failed(text, source=self.partition, reason=reason, exc_info=error)

    async def _own(self) -> None:
        """One session: from the acquisition of the lease to an interruption, or to the end."""
        context, partition = self._context, self.partition
        self._last_error, self._publishing_failed = None, False
        lease = await unless_stopping(context.acquire_lease(partition), self._stop)
        if lease is None:
            return
        publisher = self._publisher = context.outbox_publisher(lease)
        try:
            await context.definitions.refresh()
            await unless_stopping(publisher.start(), self._stop)
            if self._stop.is_set():
                return
            position = lease.position
            await context.consumer.begin(partition, position.touchpoints, position.identity)
            log.info("partition_owned", partition=partition, epoch=position.epoch, position=position.touchpoints)
            session = self._session = PartitionSession(context, partition, lease, publisher, self._stop)
            self.waiting, self.fault = False, ""
            works = asyncio.get_running_loop().call_later(_WORKED_SECONDS, context.faults.over, partition)
            try:
                await self._fold_and_publish(session, publisher)
            finally:
                works.cancel()
        finally:
            self._session = None
            await asyncio.gather(publisher.close(), lease.close(), return_exceptions=True)

    async def _fold_and_publish(self, session: PartitionSession, publisher: OutboxPublisher) -> None:
        """Fold and publish at the same time; when one ends, end the other."""
        folding = asyncio.create_task(session.run(), name=f"fold {self.partition}")
        publishing = asyncio.create_task(publisher.run(), name=f"publish {self.partition}")
        try:
            await asyncio.wait({folding, publishing}, return_when=asyncio.FIRST_COMPLETED)
            if folding.done() and not folding.cancelled() and folding.exception() is None:
                # Told to stop: what is committed is published before the partition is released.
                flushing = asyncio.create_task(publisher.flushed())
                await asyncio.wait({flushing, publishing}, timeout=_FLUSH_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                flushing.cancel()
        finally:
            for task in (folding, publishing):
                task.cancel()
            results = await asyncio.gather(folding, publishing, return_exceptions=True)
        self._publishing_failed = isinstance(results[1], Exception) and not isinstance(results[0], Exception)
        for result in results:
            if isinstance(result, Exception):
                raise result
