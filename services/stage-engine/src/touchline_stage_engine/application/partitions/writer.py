"""The state of one partition in memory, and the commit of batches that changes it together with the database."""

import time
from collections.abc import Awaitable, Callable, Iterable

import structlog
from touchline_schemas.times import micros_to_wire

from touchline_stage_engine.application.batches.batch import Batch
from touchline_stage_engine.application.batches.customers import Cache
from touchline_stage_engine.application.batches.erasure import Erasures
from touchline_stage_engine.application.batches.folding import Folding
from touchline_stage_engine.application.errors import KafkaAwayError
from touchline_stage_engine.application.partitions.batch_metrics import count
from touchline_stage_engine.application.partitions.context import WorkerContext, clock
from touchline_stage_engine.application.ports import OutboxPublisher, PartitionLease, PartitionTables
from touchline_stage_engine.application.values import Records

log = structlog.get_logger(__name__)


class PartitionWriter:
    """Makes batches and commits them, each in one fenced transaction.

    Attributes:
        folding: the folds in force now.
        cache: the customers in memory.
        next_wake: the earliest timer that may be due (microseconds); None: none.
        shared_keys: keys that too many customers name.
        committed_at: the last commit, on the monotonic clock.
        on_committed: called with the customers of each committed batch.
    """

    def __init__(
        self, context: WorkerContext, partition: int, lease: PartitionLease, publisher: OutboxPublisher
    ) -> None:
        self._context = context
        self.partition = partition
        self.lease = lease
        self.publisher = publisher
        self.cache = Cache(context.cache_budget.share)
        self._erasures = Erasures(partition, context.erasure_secret)
        self._builder = context.hot_path.record_builder(partition, lease.position.era)
        self._take_definitions()
        self.folding = self._new_folding(clock())
        self.next_wake: int | None = 0
        self.shared_keys: set[str] = set()
        self.committed_at = time.monotonic()
        self.on_committed: Callable[[Iterable[str]], None] = lambda _: None

    def reset(self) -> None:
        """Discard what a failed batch has left in memory."""
        self.cache.clear()
        self._erasures = Erasures(self.partition, self._context.erasure_secret)
        self.folding = self._new_folding(clock())

    def _new_folding(self, now: int) -> Folding:
        catalogue, rebuilds = self._catalogue, self.lease.position.rebuilds
        self._definitions_until = catalogue.next_change(now)
        return Folding(
            catalogue.folds(now),
            catalogue.generation(now, rebuilds),
            self._builder,
            self._context.settings.checkpoint_every,
            catalogue.generations(now, rebuilds),
        )

    def renew_definitions_if_due(self) -> None:
        """Fold by the versions in force, where one has come into force or was published."""
        published = self._revision != self._context.definitions.revision
        if published or (self._definitions_until is not None and clock() >= self._definitions_until):
            self._renew_definitions()

    def _take_definitions(self) -> None:
        """What is published from here on is taken up between two batches, never inside one."""
        definitions = self._context.definitions
        self._catalogue, self._revision = definitions.catalogue, definitions.revision

    def _renew_definitions(self) -> None:
        self._take_definitions()
        self.folding = self._new_folding(clock())
        self.cache.clear()

    def new_batch(self) -> Batch:
        """An empty batch."""
        now = clock()
        self._builder.decided_at = micros_to_wire(now)
        settings = self._context.settings
        return Batch(
            self.partition,
            settings.partitions,
            self.folding,
            self.cache,
            self._erasures,
            now,
            settings.shared_key_limit,
            self._context.hot_path,
        )

    async def gather(self, records: Records) -> Batch:
        """A batch of these records, with everything read that it needs."""
        batch = self.new_batch()
        async with self.lease.reading() as tables:
            await batch.gather(tables, *records)
        return batch

    async def commit(
        self,
        batch: Batch,
        fold: Callable[[PartitionTables], Awaitable[None]],
        touchpoints: int | None = None,
        identity: int | None = None,
        *,
        received_at: float | None = None,
    ) -> None:
        """Fold a batch and write it, in one fenced transaction that moves the position to these offsets.

        Args:
            received_at: the timestamp of the batch's first touchpoint record, in seconds since the epoch.

        Raises:
            Interrupted: see application/errors.py.
        """
        async with self.lease.fenced_transaction(touchpoints, identity) as tables:
            await fold(tables)
            await self.folding.publish_latest_stages()
            await tables.write(batch.changes, self.folding.names, clock())
        try:
            self._committed(batch, received_at)
        except Exception as error:
            # The database is right, and memory may not be.
            log.exception("commit_not_settled", partition=self.partition)
            raise KafkaAwayError("the partition is acquired again after an error in memory") from error

    def _committed(self, batch: Batch, received_at: float | None) -> None:
        changes, position = batch.changes, self.lease.position
        self.committed_at = time.monotonic()
        if changes.outbox:
            self.publisher.offer(position.last_outbox_id + 1, changes.outbox, received_at)
        position.last_outbox_id += len(changes.outbox)
        self._context.consumer.done(self.partition, position.touchpoints, position.identity)
        wakes = [customer.wake_at for customer in changes.customers.values() if customer.wake_at is not None]
        if wakes and (self.next_wake is None or min(wakes) < self.next_wake):
            self.next_wake = min(wakes)
        for key, number in changes.shared.items():
            (self.shared_keys.discard if number is None else self.shared_keys.add)(key)
        self.cache.trim(batch.used)
        count(self._context.metrics, changes)
        for (source, touchpoint_id), times in changes.conflicting.items():
            self._context.conflicts.happened(source, times, source=source, touchpoint_id=touchpoint_id)
        self.on_committed(changes.customers)
        if changes.rebuilds:
            position.rebuilds += changes.rebuilds
            self._renew_definitions()
        batch.release()
