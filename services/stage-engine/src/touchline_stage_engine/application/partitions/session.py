"""One partition's work from the acquisition of its lease to an interruption: polls, folds, fires timers."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from functools import partial
from typing import Literal

import structlog

from touchline_stage_engine import metrics as declared
from touchline_stage_engine.application.audiences.evaluation import AudienceEvaluation
from touchline_stage_engine.application.batches.batch import Batch
from touchline_stage_engine.application.errors import Interrupted
from touchline_stage_engine.application.partitions.catch_up import Flush
from touchline_stage_engine.application.partitions.context import WorkerContext, clock
from touchline_stage_engine.application.partitions.erasure_parts import erasure_parts
from touchline_stage_engine.application.partitions.fold_traces import FoldTraces
from touchline_stage_engine.application.partitions.isolation import Isolation
from touchline_stage_engine.application.partitions.rebuild import Rebuild
from touchline_stage_engine.application.partitions.shared_key_limit import apply_shared_key_limit
from touchline_stage_engine.application.partitions.timers import Timers
from touchline_stage_engine.application.partitions.writer import PartitionWriter
from touchline_stage_engine.application.ports import OutboxPublisher, PartitionLease, PartitionTables
from touchline_stage_engine.application.values import Records
from touchline_stage_engine.core.decoding import Poison

log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.2
_POLL_SECONDS_WHEN_BUSY = 0.01
_LARGE = 1000
"""Touchpoints beyond which a batch is large: large batches take turns, small ones are spaced out."""
_SMALL_BATCH_INTERVAL = 0.06
"""Seconds from one small batch of a partition to the next, at least: each has a fixed cost."""
_FRESH_SECONDS = 0.02
"""A poll returns what was fetched before it. A second poll waits this long for what has arrived since."""
_TRIM_EVERY = 600.0
_TRIM_AT_ONCE = 5000


class PartitionSession:
    """Folds one partition under one lease."""

    def __init__(
        self,
        context: WorkerContext,
        partition: int,
        lease: PartitionLease,
        publisher: OutboxPublisher,
        stop: asyncio.Event,
    ) -> None:
        self._context = context
        self._partition = partition
        self._lease = lease
        self._publisher = publisher
        self._stop = stop
        self._writer = PartitionWriter(context, partition, lease, publisher)
        self._timers = Timers(context, self._writer, stop)
        self._rebuild = Rebuild(context, self._writer)
        self.audiences: AudienceEvaluation | None = None
        """None: no audience is evaluated."""
        if context.audience_candidates is not None:
            self.audiences = AudienceEvaluation(context, self._writer, context.audience_candidates)
            self._writer.on_committed = self.audiences.note
        self._isolation = Isolation(partition, self._fold, self._reject, self._writer.reset)
        self._last_part: Records | None = None
        """The last part of the records that were polled."""
        self._flush = Flush(context.catch_up, partition)
        self._timers_checked_at = 0
        self._trim_at = time.monotonic()
        self._confirmed_at = 0.0

    @property
    def progress_at(self) -> float:
        """When it last committed, or Kafka confirmed that there is nothing to fold, on the monotonic clock."""
        return max(self._writer.committed_at, self._confirmed_at)

    @property
    def cached(self) -> int:
        """Customers in memory."""
        return len(self._writer.cache)

    @property
    def rebuilding(self) -> bool:
        """Whether customers are still being folded again."""
        return self._rebuild.pending

    @property
    def shared_keys(self) -> int:
        """Keys that too many customers name."""
        return len(self._writer.shared_keys)

    async def run(self) -> None:
        """Fold until told to stop.

        Raises:
            Interrupted: see application/errors.py.
        """
        await self.start()
        evaluating = None if self.audiences is None else asyncio.create_task(self.audiences.run())
        try:
            while not self._stop.is_set():
                began = time.monotonic()
                if await self.step() == "small":
                    await asyncio.sleep(max(0.0, began + _SMALL_BATCH_INTERVAL - time.monotonic()))
        finally:
            if evaluating is not None:
                evaluating.cancel()
                await asyncio.gather(evaluating, return_exceptions=True)

    async def start(self) -> None:
        """Before the first step: note what a changed setting or definition leaves to do."""
        if self._rebuild.pending:
            await self._rebuild.begin()
        await apply_shared_key_limit(self._context, self._writer)

    async def step(self) -> Literal["large", "small", None]:
        """Fold the next records, then fire what is due, and do a part of what else there is to do.

        Returns:
            The size of the batch; None: nothing came.
        """
        consumer = self._context.consumer
        if self._rebuild.pending:
            await self._rebuild.begin()
        await self._publisher.wait_for_capacity()
        records = await self._poll()
        large = records is not None and len(records.touchpoints) > _LARGE
        if records is None:
            self._confirmed_at = max(self._confirmed_at, consumer.confirmed_at(self._partition))
        else:
            async with self._context.turns if large else nullcontext():
                await self._fold_in_parts(records)
        caught_up_at = consumer.caught_up_at(self._partition)
        self._note_flushed(caught_up_at)
        if caught_up_at is not None:
            self._context.freshness.caught_up(self._partition, caught_up_at)
        if caught_up_at is not None and caught_up_at > self._timers_checked_at:
            self._timers_checked_at = caught_up_at
            await self._timers.fire(caught_up_at)
            if self._rebuild.pending and await self._rebuild.step(caught_up_at):
                self._timers_checked_at = 0  # the next step needs no newer clock reading
        if self.audiences is not None:
            await self.audiences.step()
        if time.monotonic() >= self._trim_at:
            await self._trim_outcomes()
        self._writer.renew_definitions_if_due()
        if records is None:
            return None
        return "large" if large else "small"

    async def _poll(self) -> Records | None:
        consumer, limit = self._context.consumer, self._context.settings.batch_records
        busy = self._rebuild.pending or (self.audiences is not None and self.audiences.pending)
        seconds = _POLL_SECONDS_WHEN_BUSY if busy else _POLL_SECONDS
        records = await consumer.poll(self._partition, limit, seconds, self._stop)
        if records is not None and len(records.touchpoints) <= _LARGE:
            more = await consumer.poll(self._partition, limit, _FRESH_SECONDS, self._stop)
            if more is not None:
                records.touchpoints.extend(more.touchpoints)
                records.identity.extend(more.identity)
        return records

    async def _fold_in_parts(self, records: Records) -> None:
        parts = list(erasure_parts(records))
        self._last_part = parts[-1]
        for part in parts:
            await self._isolation.fold(part)

    async def _fold(self, records: Records) -> None:
        began = time.monotonic()
        touchpoints, identity = records
        number = len(touchpoints) + len(identity)
        offsets = records.positions_after
        batch = await self._writer.gather(records)
        # When what was polled is folded in parts, the rest of it has been read and not folded.
        is_last = records is self._last_part
        caught_up_at = self._context.consumer.caught_up_at(self._partition) if is_last else None
        received_at = touchpoints[0].timestamp / 1000 if touchpoints else None
        fold = partial(batch.apply, caught_up_at=caught_up_at)
        tracing = self._context.tracing
        if tracing is None:
            await self._writer.commit(batch, fold, *offsets, received_at=received_at)
        else:
            traces = FoldTraces(tracing, self._partition, touchpoints)
            await self._commit_traced(traces, batch, fold, offsets, received_at)
        if touchpoints:
            self._context.freshness.folded(self._partition, touchpoints[-1].timestamp)
        metrics = self._context.metrics
        metrics.histogram(declared.BATCH_SECONDS).observe(time.monotonic() - began)
        metrics.histogram(declared.BATCH_RECORDS).observe(number)

    async def _commit_traced(
        self,
        traces: FoldTraces,
        batch: Batch,
        fold: Callable[[PartitionTables], Awaitable[None]],
        offsets: tuple[int | None, int | None],
        received_at: float | None,
    ) -> None:
        async def fold_and_annotate(tables: PartitionTables) -> None:
            await fold(tables)
            traces.annotate(batch.changes)

        why = "cancelled"
        try:
            await self._writer.commit(batch, fold_and_annotate, *offsets, received_at=received_at)
            why = ""
        except Exception as error:
            why = type(error).__name__
            raise
        finally:
            traces.end(why)

    async def _reject(self, records: Records, error: Exception) -> None:
        """Commit one record as a dead letter, without its headers if they are what fails."""
        poison = Poison("unprocessable", f"{type(error).__name__}: {error}")
        try:
            await self._commit_rejected(records, poison, with_headers=True)
        except (Interrupted, MemoryError):
            raise
        except Exception as another:
            log.warning("dead_letter_failed", partition=self._partition, error=type(another).__name__)
            self._writer.reset()
            await self._commit_rejected(records, poison, with_headers=False)

    async def _commit_rejected(self, records: Records, poison: Poison, *, with_headers: bool) -> None:
        batch = self._writer.new_batch()
        for record in (*records.touchpoints, *records.identity):
            batch.reject(record, poison, with_headers=with_headers)
        await self._writer.commit(batch, partial(batch.apply, caught_up_at=None), *records.positions_after)

    def _note_flushed(self, caught_up_at: int | None) -> None:
        """Report to the other partitions up to when this one has folded and published everything."""
        if not self._context.consumer.has_all_messages(self._partition):
            caught_up_at = None
        position = self._lease.position
        self._flush.note(caught_up_at, position.last_outbox_id, self._publisher.published_through)

    async def _trim_outcomes(self) -> None:
        """Delete old outcomes of touchpoints, some at a time. No successor needs them, so this needs no fence."""
        before = clock() - self._context.settings.outcomes_kept_days * 86_400 * 1_000_000
        async with self._lease.reading() as tables:
            deleted = await tables.touchpoints.trim_outcomes(before, _TRIM_AT_ONCE)
        self._trim_at = time.monotonic() + (0.0 if deleted == _TRIM_AT_ONCE else _TRIM_EVERY)
