"""Publishes the outbox of one partition, each record exactly once across owners.

It produces in Kafka transactions. Starting a producer with the same transactional id fences the predecessor's producer
and aborts its open transaction. Each transaction also commits, as the offset of a consumer group, the number of the
last outbox record that it contains. So a new owner knows exactly where to go on.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Protocol

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import GroupLoadInProgressError, ProducerFenced
from aiokafka.structs import OffsetAndMetadata
from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.kafka import clients as kafka
from touchline_runtime.kafka.shutdown import cancelled_by_us, stop_client

from touchline_partitions.errors import FencedError

TIMEOUT_SECONDS = 30.0
"""How long the start, or a Kafka transaction, may take."""
_TRANSACTION_TIMEOUT_MS = 15_000
"""When the broker aborts the transaction of a producer that is gone: until then readers of committed records wait."""


class Publishable(Protocol):
    """A record of an outbox."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class Published(NamedTuple):
    """How far an outbox was published: the number of its last published record (0: none), and the note beside it."""

    through: int
    note: str


class OutboxProducer:
    """The Kafka side of one partition's outbox.

    Args:
        transactional_id: the same for all owners of the partition, and of no other partition.
        group: the consumer group whose offsets say how far the outboxes are published.
        topic: the topic under which the group's offsets are kept; full name.
    """

    def __init__(
        self, settings: ServiceSettings, *, transactional_id: str, group: str, topic: str, partition: int
    ) -> None:
        self._settings = settings
        self._name = transactional_id
        self._group = group
        self._progress = TopicPartition(topic, partition)
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> Published:
        """Fence the predecessor, and read how far it published.

        Raises:
            FencedError: a successor has started already.
            KafkaError, OSError, TimeoutError: no broker answers, or it refuses.
        """
        self._producer = kafka.producer(
            self._settings,
            self._name,
            transactional_id=self._name,
            transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS,
            linger_ms=0,
        )
        async with self._in_time():
            await self._producer.start()
            return await self._published()

    async def _published(self) -> Published:
        async with kafka.Admin(self._settings, self._name) as admin:
            try:
                offsets = await admin.client.list_consumer_group_offsets(self._group, partitions=[self._progress])
            except AttributeError as error:
                # aiokafka raises it while the group's coordinator is loading.
                raise GroupLoadInProgressError(str(error)) from error
        return progress_of(offsets, self._progress)

    async def publish(
        self, records: Mapping[tuple[str, int], Sequence[Publishable]], through: int, note: str = ""
    ) -> None:
        """Publish records in one Kafka transaction.

        Args:
            records: (full topic name, partition) → records in order.
            through: the number of the last record.
            note: kept beside it; ``start`` of a successor returns both.

        Raises:
            FencedError: another owner's producer has started.
            KafkaError, OSError, TimeoutError: the transaction failed; a successor's ``start`` says whether it was
                committed.
        """
        producer = self._producer
        assert producer is not None, "start first"
        # No context manager of aiokafka's: after an error it would abort, and wait for a Kafka that is away. The next
        # producer with this transactional id aborts the transaction as well.
        async with self._in_time():
            await producer.begin_transaction()
            sent = await _send(producer, records)
            await producer.send_offsets_to_transaction({self._progress: OffsetAndMetadata(through, note)}, self._group)
            await asyncio.gather(*sent)
            await producer.commit_transaction()

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                yield
        except ProducerFenced as error:
            raise FencedError(
                f"another process publishes the outbox of partition {self._progress.partition}"
            ) from error
        except TimeoutError:
            raise TimeoutError(f"Kafka did not answer {self._name} within {TIMEOUT_SECONDS:g} s") from None
        except asyncio.CancelledError:
            if cancelled_by_us():
                raise
            # aiokafka cancels the futures of a connection that broke.
            raise TimeoutError(f"Kafka's connection to {self._name} broke") from None

    async def close(self) -> None:
        """Stop, within some seconds. An open transaction is left for the successor to abort."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        if not await stop_client(producer.stop(), 3, self._name):
            # aiokafka waits for answers that never come; close at least the connections.
            await stop_client(producer.client.close(), 1, f"{self._name}-connections")


def progress_of(offsets: Mapping[TopicPartition, OffsetAndMetadata], partition: TopicPartition) -> Published:
    """How far an outbox was published, by the offsets of its group.

    Raises:
        GroupLoadInProgressError: the partition is not among them. A broker lists every partition that it is asked for,
            with offset -1 where nothing was committed, unless the whole request failed, as while it loads the group
            after a start; aiokafka does not look at the error of the whole request.
    """
    found = offsets.get(partition)
    if found is None:
        raise GroupLoadInProgressError(f"the coordinator did not say how far partition {partition.partition} is")
    return Published(max(0, int(found.offset)), found.metadata or "")


async def _send(
    producer: AIOKafkaProducer, records: Mapping[tuple[str, int], Sequence[Publishable]]
) -> list[asyncio.Future[Any]]:
    """Send in Kafka batches: a call for each record costs far more."""
    sent: list[asyncio.Future[Any]] = []

    async def send(topic: str, partition: int, builder: Any) -> None:
        future = await producer.send_batch(builder, topic, partition=partition)
        # If the transaction fails before the futures are awaited, its own error is reported.
        future.add_done_callback(_retrieve)
        sent.append(future)

    for (topic, partition), several in records.items():
        builder = producer.create_batch()
        for record in several:
            if builder.append(key=record.key, value=record.value, timestamp=None, headers=record.headers) is None:
                await send(topic, partition, builder)
                builder = producer.create_batch()
                builder.append(key=record.key, value=record.value, timestamp=None, headers=record.headers)
        await send(topic, partition, builder)
    return sent


def _retrieve(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
