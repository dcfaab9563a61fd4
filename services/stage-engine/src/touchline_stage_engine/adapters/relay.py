"""The relay: publishes one partition's outbox in commit order, each record once, whoever owned the partition before.

It produces in Kafka transactions under ``<prefix>-relay-<partition>``. Starting a producer under that id fences a
predecessor's and ends what it had in flight. Each transaction also commits, as a consumer group's offset, the id of
the last outbox row it holds; so after a start the relay knows exactly how far the topics have got, and goes on there.
"""

import asyncio
import time
from collections import deque
from typing import Any, NamedTuple

import asyncpg
import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, ProducerFenced
from touchline_runtime import kafka
from touchline_runtime.closing import let_go
from touchline_runtime.database import UNREACHABLE
from touchline_runtime.metrics import Metrics
from touchline_schemas.partitions import partition_of
from touchline_schemas.topics import STAGE_CHANGES

from touchline_stage_engine import metrics as declared
from touchline_stage_engine.adapters import statements
from touchline_stage_engine.adapters.errors import DatabaseAwayError, FencedError, KafkaAwayError
from touchline_stage_engine.adapters.ledger import Ledger
from touchline_stage_engine.adapters.outgoing import STAGE_CHANGES as STAGE_CHANGES_CODE
from touchline_stage_engine.adapters.outgoing import TOPIC_OF, Outgoing, unpack
from touchline_stage_engine.settings import StageEngineSettings

log = structlog.get_logger(__name__)

TRANSACTION_RECORDS = 5000
"""Records of a Kafka transaction at most: small and short."""
WAITING_LIMIT = 12_000
"""Records in memory beyond which folding waits for the relay."""
_ROWS_AT_ONCE = 4
_PATIENCE = 30.0
_CLEAR_EVERY = 1.0


class Waiting(NamedTuple):
    """Records of the outbox that follow each other, numbered from `first_id`."""

    first_id: int
    records: list[Outgoing]
    committed_at: float

    @property
    def last_id(self) -> int:
        """The number of the last one."""
        return self.first_id + len(self.records) - 1


class Relay:
    """One partition's relay. `start`, then `run` beside the owner's folding; `offer` what was committed."""

    def __init__(self, settings: StageEngineSettings, ledger: Ledger, pool: asyncpg.Pool, metrics: Metrics) -> None:
        self._settings = settings
        self._ledger = ledger
        self._pool = pool
        self._metrics = metrics
        self._partition = ledger.place.partition
        self._names = {code: topic.full_name(settings.topic_prefix) for code, topic in TOPIC_OF.items()}
        self._progress = TopicPartition(STAGE_CHANGES.full_name(settings.topic_prefix), self._partition)
        self._group = f"{settings.topic_prefix}.relay"
        self._producer: AIOKafkaProducer | None = None
        self._queue: deque[Waiting] = deque()
        self.waiting = 0
        """Records committed in the database and not published."""
        self._changed = asyncio.Event()
        self._published = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._stored_through = 0
        self._cleared_at = 0.0
        self.relayed_through = 0

    async def start(self) -> None:
        """Fence the predecessor, and find out how far the topics have got.

        Raises:
            KafkaAwayError: no broker answers.
        """
        producer = kafka.producer(
            self._settings,
            f"{self._settings.topic_prefix}-relay-{self._partition}",
            transactional_id=f"{self._settings.topic_prefix}-relay-{self._partition}",
            transaction_timeout_ms=15_000,
            linger_ms=0,
        )
        self._producer = producer
        try:
            async with asyncio.timeout(_PATIENCE):
                await producer.start()
                published = await self._published_through()
        except (KafkaError, OSError, TimeoutError, AttributeError) as error:
            # AttributeError: aiokafka's way to say that the group's coordinator is still loading.
            raise KafkaAwayError(f"the relay can't start: {error!r}") from error
        position = self._ledger.position
        self.relayed_through = max(published, position.relayed_through)
        if self.relayed_through > position.last_outbox_id:
            # The database is younger than the topics: a new one, or one restored from a backup.
            log.warning(
                "outbox_renumbered", partition=self._partition, published=self.relayed_through,
                stored=position.last_outbox_id,
            )  # fmt: skip
            position.last_outbox_id = self.relayed_through
        # Rows up to here are read from the table; later ones are offered.
        self._stored_through = position.last_outbox_id

    async def _published_through(self) -> int:
        async with kafka.Admin(self._settings, f"{self._settings.topic_prefix}-relay-{self._partition}") as admin:
            offsets = await admin.client.list_consumer_group_offsets(self._group, partitions=[self._progress])
        found = offsets.get(self._progress)
        return 0 if found is None else max(0, int(found.offset))

    def offer(self, first_id: int, records: list[Outgoing]) -> None:
        """Queue what a transaction has committed, in order; its records are numbered from `first_id`."""
        self._queue.append(Waiting(first_id, records, time.monotonic()))
        self.waiting += len(records)
        self._changed.set()
        if self.waiting > WAITING_LIMIT:
            self._room.clear()

    async def room(self) -> None:
        """Wait until the relay has caught up enough for more."""
        await self._room.wait()

    async def drained(self) -> None:
        """Wait until everything offered so far is published."""
        while self.waiting or self.relayed_through < self._stored_through:
            self._published.clear()
            await self._published.wait()

    async def run(self) -> None:
        """Publish until cancelled.

        Raises:
            FencedError: another relay has taken over.
            KafkaAwayError: Kafka did not take a transaction; what became of it, the next start finds out.
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
                self._published.set()
                if self.waiting <= WAITING_LIMIT // 2:
                    self._room.set()
                if time.monotonic() - self._cleared_at > _CLEAR_EVERY:
                    await self._clear()
        except ProducerFenced as error:
            raise FencedError(f"another relay publishes partition {self._partition}") from error
        except (KafkaError, OSError, TimeoutError) as error:
            raise KafkaAwayError(f"a transaction failed: {error!r}") from error

    def _next(self) -> list[Waiting]:
        """Take a transaction's records off the queue; what a commit wrote may be published in two pieces."""
        taken, room = [], TRANSACTION_RECORDS
        while self._queue and room:
            waiting = self._queue.popleft()
            if len(waiting.records) > room:
                rest = waiting._replace(first_id=waiting.first_id + room, records=waiting.records[room:])
                self._queue.appendleft(rest)
                waiting = waiting._replace(records=waiting.records[:room])
            taken.append(waiting)
            room -= len(waiting.records)
        return taken

    async def _publish_stored(self) -> None:
        """Publish what a predecessor, or an earlier life, has left in the table."""
        while self.relayed_through < self._stored_through:
            after = self.relayed_through
            try:
                rows = await self._pool.fetch(statements.OUTBOX_AFTER, self._partition, after, _ROWS_AT_ONCE)
            except UNREACHABLE as error:
                raise DatabaseAwayError(str(error)) from error
            batch = []
            for row in rows:
                # Later rows are our own: they are offered.
                if row["last_id"] <= self._stored_through:
                    first = max(row["first_id"], after + 1)
                    batch.append(Waiting(first, unpack(row["records"])[first - row["first_id"] :], time.monotonic()))
            if not batch:
                self.relayed_through = self._stored_through
                return
            await self._publish(batch)

    async def _publish(self, batch: list[Waiting]) -> None:
        producer = self._producer
        assert producer is not None, "start first"
        async with asyncio.timeout(_PATIENCE):
            await producer.begin_transaction()
            sent = await self._send(producer, batch)
            await producer.send_offsets_to_transaction({self._progress: batch[-1].last_id}, self._group)
            await asyncio.gather(*sent)
            await producer.commit_transaction()
        self.relayed_through = batch[-1].last_id
        facts = sum(1 for waiting in batch for record in waiting.records if record.topic == STAGE_CHANGES_CODE)
        self._metrics.counter(declared.FACTS_PUBLISHED).inc(facts)
        self._metrics.histogram(declared.RELAY_SECONDS).observe(time.monotonic() - batch[0].committed_at)

    async def _send(self, producer: AIOKafkaProducer, batch: list[Waiting]) -> list[asyncio.Future[Any]]:
        """Hand a transaction's records over, a Kafka batch for each partition: a call for each costs far more."""
        by_place: dict[tuple[int, int | None], list[Outgoing]] = {}
        for waiting in batch:
            for record in waiting.records:
                place = record.topic, record.partition
                if place[1] is None:
                    place = place[0], partition_of((record.key or b"").decode(), self._settings.partitions)
                if (found := by_place.get(place)) is None:
                    by_place[place] = [record]
                else:
                    found.append(record)
        sent: list[asyncio.Future[Any]] = []

        async def send(name: str, partition: int | None, builder: Any) -> None:
            future = await producer.send_batch(builder, name, partition=partition)
            # Should the transaction fail before they are waited for, its own error says it all.
            future.add_done_callback(_know)
            sent.append(future)

        for (topic, partition), records in by_place.items():
            name, builder = self._names[topic], producer.create_batch()
            for record in records:
                if builder.append(key=record.key, value=record.value, timestamp=None, headers=record.headers) is None:
                    await send(name, partition, builder)
                    builder = producer.create_batch()
                    builder.append(key=record.key, value=record.value, timestamp=None, headers=record.headers)
            await send(name, partition, builder)
        return sent

    async def _clear(self) -> None:
        """Drop published rows from the table. A failure is no matter: they are dropped later."""
        self._cleared_at = time.monotonic()
        position, place = self._ledger.position, self._ledger.place
        if self.relayed_through <= position.relayed_through:
            return
        try:
            # One statement each, committed by itself: a process that freezes in between holds no lock.
            await self._pool.execute(statements.CLEAR_OUTBOX, self._partition, self.relayed_through)
            await self._pool.execute(
                statements.RECORD_RELAYED, place.cluster_id, place.topic_id, place.partition, self.relayed_through
            )
        except UNREACHABLE as error:
            log.info("outbox_not_cleared", partition=self._partition, error=str(error))
            return
        position.relayed_through = self.relayed_through

    async def close(self) -> None:
        """Stop the producer; a transaction that is open is left for the successor's start to end."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        if not await let_go(producer.stop(), 3, f"relay-{self._partition}"):
            # aiokafka waits for answers that never come; the connections at least are to go.
            await let_go(producer.client.close(), 1, f"relay-{self._partition}-connections")


def _know(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
