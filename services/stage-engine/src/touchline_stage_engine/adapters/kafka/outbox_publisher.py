"""Publishes one partition's outbox in commit order, each record exactly once across owners.

It publishes what is committed from memory, and from the table only what a predecessor left there. The Kafka side, with
the transactional id ``<prefix>-relay-<partition>``, is ``touchline_partitions.outbox_producer``.
"""

import asyncio
import re
import time
from collections import deque
from typing import NamedTuple

import structlog
from aiokafka.errors import KafkaError
from touchline_partitions.outbox_producer import OutboxProducer
from touchline_runtime.metrics import Metrics
from touchline_schemas.partitions import partition_of
from touchline_schemas.topics import STAGE_CHANGES

from touchline_stage_engine import metrics as declared
from touchline_stage_engine.adapters.kafka.faults import kafka_fault
from touchline_stage_engine.application.outbox_records import STAGE_CHANGES as STAGE_CHANGES_CODE
from touchline_stage_engine.application.outbox_records import TOPIC_OF, Outgoing, in_chunks
from touchline_stage_engine.application.ports import OutboxTable, PartitionLease
from touchline_stage_engine.settings import StageEngineSettings

log = structlog.get_logger(__name__)

TRANSACTION_RECORDS = 5000
"""Records of a Kafka transaction at most: small and short."""
TRANSACTION_BYTES = 8 * 1024 * 1024
"""Bytes of a Kafka transaction at most, unless one record alone is larger."""
WAITING_BYTES = 64 * 1024 * 1024
"""Bytes in memory beyond which folding waits for the publisher."""
WAITING_LIMIT = 12_000
"""Records in memory beyond which folding waits for the publisher."""
_ERA = re.compile(r"era=([0-9]+)")
_CLEAR_EVERY = 1.0


class Waiting(NamedTuple):
    """Consecutive records of the outbox, numbered from `first_id`."""

    first_id: int
    records: list[Outgoing]
    committed_at: float
    size: int
    received_at: float | None = None
    """The timestamp of the oldest touchpoint record behind them, in seconds since the epoch."""

    @property
    def last_id(self) -> int:
        """The number of the last one."""
        return self.first_id + len(self.records) - 1


class KafkaOutboxPublisher:
    """Implements `ports.OutboxPublisher`. Call `start`, then `run` while folding; `offer` what was committed."""

    def __init__(
        self, settings: StageEngineSettings, lease: PartitionLease, outbox: OutboxTable, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._lease = lease
        self._outbox = outbox
        self._metrics = metrics
        self._partition = lease.key.partition
        self._names = {code: topic.full_name(settings.topic_prefix) for code, topic in TOPIC_OF.items()}
        self._producer = OutboxProducer(
            settings,
            transactional_id=f"{settings.topic_prefix}-relay-{self._partition}",
            group=f"{settings.topic_prefix}.relay",
            topic=STAGE_CHANGES.full_name(settings.topic_prefix),
            partition=self._partition,
        )
        self._queue: deque[Waiting] = deque()
        self._waiting_bytes = 0
        self.waiting = 0
        """Records committed in the database and not published."""
        self._changed = asyncio.Event()
        self._published = asyncio.Event()
        self._capacity = asyncio.Event()
        self._capacity.set()
        self._cleared_at = 0.0
        # Until `start` has read the topic, what the table says: it is known to be published a moment later.
        self._stored_through = lease.position.last_outbox_id
        self.published_through = lease.position.published_through

    async def start(self) -> None:
        """Fence the predecessor, and read how far it published.

        Raises:
            FencedError: another publisher has taken over.
            KafkaAwayError: no broker answers.
        """
        try:
            published, note = await self._producer.start()
        except (KafkaError, OSError, TimeoutError) as error:
            raise kafka_fault(error, f"the outbox of partition {self._partition} can't be published") from error
        era = _era_of(note)
        position = self._lease.position
        self.published_through = max(published, position.published_through)
        if self.published_through > position.last_outbox_id:
            # The database is behind the topics: a new one, or one restored from a backup. Facts from here on may get
            # numbers that other facts had before. The topics keep the era, since a backup may be restored twice.
            stored = position.last_outbox_id
            await self._lease.begin_era(max(position.era, era) + 1, self.published_through)
            log.warning(
                "database_behind_topics", partition=self._partition, published=self.published_through, stored=stored,
                era=position.era,
            )  # fmt: skip
        elif era > position.era:
            await self._lease.begin_era(era, position.last_outbox_id)
        # Rows up to here are read from the table; later ones are offered.
        self._stored_through = position.last_outbox_id

    def offer(self, first_id: int, records: list[Outgoing], received_at: float | None = None) -> None:
        """Queue the records of a committed transaction, numbered from `first_id`."""
        now = time.monotonic()
        for chunk in in_chunks(records, TRANSACTION_RECORDS, TRANSACTION_BYTES):
            size = sum(record.size for record in chunk)
            self._queue.append(Waiting(first_id, chunk, now, size, received_at))
            first_id += len(chunk)
            self._waiting_bytes += size
        self.waiting += len(records)
        self._changed.set()
        if self.waiting > WAITING_LIMIT or self._waiting_bytes > WAITING_BYTES:
            self._capacity.clear()

    @property
    def unpublished(self) -> int:
        """Records that are committed in the database and not published, including those of a predecessor."""
        return self.waiting + max(0, self._stored_through - self.published_through)

    async def wait_for_capacity(self) -> None:
        """Wait while too much is queued."""
        await self._capacity.wait()

    async def flushed(self) -> None:
        """Wait until everything offered so far is published."""
        while self.unpublished:
            self._published.clear()
            await self._published.wait()

    async def run(self) -> None:
        """Publish until cancelled.

        Raises:
            FencedError: another publisher has taken over.
            KafkaAwayError: a Kafka transaction failed; the next `start` determines whether it was committed.
        """
        try:
            await self._publish_stored()
            self._published.set()
            while True:
                if not self._queue:
                    self._changed.clear()
                    try:
                        async with asyncio.timeout(_CLEAR_EVERY):
                            await self._changed.wait()
                    except TimeoutError:
                        await self._clear()
                        continue
                batch = self._next()
                await self._publish(batch)
                self.waiting -= sum(len(waiting.records) for waiting in batch)
                self._waiting_bytes -= sum(waiting.size for waiting in batch)
                self._published.set()
                if self.waiting <= WAITING_LIMIT // 2 and self._waiting_bytes <= WAITING_BYTES // 2:
                    self._capacity.set()
                if time.monotonic() - self._cleared_at > _CLEAR_EVERY:
                    await self._clear()
        except (KafkaError, OSError, TimeoutError) as error:
            raise kafka_fault(error, f"the outbox of partition {self._partition} can't be published") from error

    def _next(self) -> list[Waiting]:
        """Take chunks for one transaction off the queue, up to the bounds."""
        taken: list[Waiting] = []
        records = size = 0
        while self._queue:
            waiting = self._queue[0]
            records, size = records + len(waiting.records), size + waiting.size
            if taken and (records > TRANSACTION_RECORDS or size > TRANSACTION_BYTES):
                break
            taken.append(self._queue.popleft())
        return taken

    async def _publish_stored(self) -> None:
        """Publish what a predecessor has left in the table."""
        while self.published_through < self._stored_through:
            # Later rows were committed by this owner: they are offered.
            rows = await self._outbox.read_after(self.published_through, self._stored_through)
            if not rows:
                self.published_through = self._stored_through
                return
            now = time.monotonic()
            for first, records in rows:
                for chunk in in_chunks(records, TRANSACTION_RECORDS, TRANSACTION_BYTES):
                    await self._publish([Waiting(first, chunk, now, 0)])
                    first += len(chunk)

    async def _publish(self, batch: list[Waiting]) -> None:
        through, era = batch[-1].last_id, self._lease.position.era
        await self._producer.publish(self._by_topic_partition(batch), through, f"era={era}")
        self.published_through = through
        facts = sum(1 for waiting in batch for record in waiting.records if record.topic == STAGE_CHANGES_CODE)
        self._metrics.counter(declared.FACTS_PUBLISHED).inc(facts)
        self._metrics.histogram(declared.PUBLISH_SECONDS).observe(time.monotonic() - batch[0].committed_at)
        now = time.time()
        for waiting in batch:
            if waiting.received_at is not None:
                self._metrics.histogram(declared.END_TO_END_SECONDS).observe(max(0.0, now - waiting.received_at))

    def _by_topic_partition(self, batch: list[Waiting]) -> dict[tuple[str, int], list[Outgoing]]:
        """The records of a transaction by full topic name and partition, in order."""
        found: dict[tuple[int, int], list[Outgoing]] = {}
        for waiting in batch:
            for record in waiting.records:
                if (partition := record.partition) is None:
                    partition = partition_of((record.key or b"").decode(), self._settings.partitions)
                target = record.topic, partition
                if (records := found.get(target)) is None:
                    found[target] = [record]
                else:
                    records.append(record)
        return {(self._names[topic], partition): records for (topic, partition), records in found.items()}

    async def _clear(self) -> None:
        """Delete published records from the table."""
        self._cleared_at = time.monotonic()
        position = self._lease.position
        if self.published_through > position.published_through and await self._outbox.clear(self.published_through):
            position.published_through = self.published_through

    async def close(self) -> None:
        """Stop the producer; an open transaction is left for the successor to abort."""
        self._queue.clear()
        await self._producer.close()


def _era_of(note: str) -> int:
    found = _ERA.fullmatch(note)
    return int(found[1]) if found else 0
