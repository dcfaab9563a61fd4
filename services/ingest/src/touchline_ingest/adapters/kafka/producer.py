"""The Kafka publisher: idempotent, acks=all, bounded in memory, recovers by itself after an outage."""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import lru_cache
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from touchline_runtime.errors import Unavailable
from touchline_runtime.kafka import clients as kafka
from touchline_runtime.kafka.shutdown import unless_stopping
from touchline_runtime.process.repeated_faults import FaultLog
from touchline_schemas.partitions import murmur2
from touchline_schemas.topics import DEAD_LETTERS, TOUCHPOINTS, Topic

from touchline_ingest.adapters.in_flight import InFlight
from touchline_ingest.adapters.kafka.partition_queues import PartitionQueue, PartitionSlice, ProduceRequest
from touchline_ingest.application.ports import Delivery
from touchline_ingest.core.touchpoints.records import Record
from touchline_ingest.settings import IngestSettings

log = structlog.get_logger(__name__)

WRITTEN = (TOUCHPOINTS, DEAD_LETTERS)
"""The topics that this service writes, and creates when they are missing."""

_IDLE_CLOSE_SECONDS = 1.0
NOT_YET = "Kafka has not answered since this process started: try again shortly"


class KafkaPublisher:
    """Publishes to the topics of one prefix. A component: ``run`` connects, then serves until it is told to stop.

    An idempotent producer can't continue after a failed batch (its sequence has a gap), so a failure replaces the
    producer. An unavailable broker is not a failure: the batch in flight is kept and delivered once the broker is back.
    By then its senders have been answered 503; what they send again has the same ids.
    """

    name = "kafka-publisher"

    def __init__(self, settings: IngestSettings, *, watch: Callable[[InFlight], None] | None = None) -> None:
        self._settings = settings
        self._in_flight = InFlight(settings.max_in_flight_records, settings.max_in_flight_bytes)
        self._names = {topic.name: topic.full_name(settings.topic_prefix) for topic in WRITTEN}
        self._queues: dict[tuple[str, int], PartitionQueue] = {}
        self._round_robin = itertools.count()
        self._producer: AIOKafkaProducer | None = None
        self._admin: kafka.Admin | None = None
        self._renewing = asyncio.Lock()
        self._not_started = FaultLog(log, "producer_not_started")
        self._not_acknowledged = FaultLog(log, "batch_not_acknowledged", sources="partitions", level="error")
        self._sending = 0
        self._acknowledged_at = time.monotonic()
        self.connected = asyncio.Event()
        if watch is not None:
            watch(self._in_flight)

    async def run(self, stopping: asyncio.Event) -> None:
        """Connect, create missing topics, and wait until told to stop; then flush what was accepted.

        Raises:
            Unavailable: no broker answered within the start-up time.
            ConfigurationError: a topic has another number of partitions than configured.
        """
        prefix, partitions = self._settings.topic_prefix, self._settings.partitions
        async with AsyncExitStack() as stack:

            async def connect() -> kafka.Admin:
                admin = await stack.enter_async_context(kafka.Admin(self._settings, "touchline-ingest-admin"))
                await admin.ensure_topics(
                    kafka.WantedTopic(topic.full_name(prefix), partitions, topic.config()) for topic in WRITTEN
                )
                self._producer = self._new_producer()
                await kafka.start_when_reachable(self._producer, self._settings)
                return admin

            try:
                # Nothing has been accepted yet, so stopping needs no flush.
                self._admin = await unless_stopping(connect(), stopping)
                if self._admin is None:
                    return
                self.connected.set()
                log.info("kafka_connected", topics=sorted(self._names.values()))
                await stopping.wait()
            finally:
                self._admin = None
                await self._close()

    async def publish(self, topic: Topic, records: Sequence[Record]) -> Delivery:
        """Publish records and wait for their acknowledgement; see :class:`Publisher`."""
        if not records:
            return Delivery()
        if not self.connected.is_set():
            return Delivery(frozenset(range(len(records))), NOT_YET)
        self._in_flight.take(len(records), sum([record.size for record in records]))
        request = ProduceRequest(asyncio.get_running_loop().create_future())
        self._enqueue(request, topic, records)
        timeout = self._settings.ack_timeout_seconds
        try:
            async with asyncio.timeout(timeout):
                await request.done
        except TimeoutError:
            missing = {index for slice_ in request.slices for index in slice_.indices[slice_.acknowledged :]}
            request.abandon()
            reason = f"Kafka did not acknowledge within {timeout:g} s"
            return Delivery(frozenset(missing | request.unacknowledged), reason)
        except asyncio.CancelledError:
            # The sender disconnected: records that are not in flight yet need not be sent.
            request.abandon()
            raise
        finally:
            # Break the reference cycle between a request and its slices, so that the records are freed at once.
            request.slices = []
        return Delivery(frozenset(request.unacknowledged), request.reason) if request.unacknowledged else Delivery()

    async def check(self) -> None:
        """Health: a broker answers a metadata request."""
        if self._admin is None or not self.connected.is_set():
            raise Unavailable(NOT_YET)
        await kafka.answers(self._admin)
        silent = time.monotonic() - self._acknowledged_at
        if self._in_flight.records and silent > self._settings.stall_seconds:
            raise Unavailable(f"Kafka has acknowledged nothing for {silent:.0f} s, and records wait for it")

    def _enqueue(self, request: ProduceRequest, topic: Topic, records: Sequence[Record]) -> None:
        count = self._settings.partitions
        slices: dict[int, PartitionSlice] = {}
        for index, record in enumerate(records):
            number = next(self._round_robin) if record.key is None else _hash(record.key)
            partition = number % count
            slice_ = slices.get(partition)
            if slice_ is None:
                slice_ = slices[partition] = PartitionSlice(request, self._queue(topic, partition))
            slice_.records.append(record)
            slice_.indices.append(index)
        request.slices = list(slices.values())
        request.open_slices = len(slices)
        for slice_ in request.slices:
            slice_.queue.put(slice_)

    def _queue(self, topic: Topic, partition: int) -> PartitionQueue:
        queue = self._queues.get((topic.name, partition))
        if queue is None:

            async def send(batch: Any, to: int) -> None:
                await self._send(self._names[topic.name], batch, to)

            queue = PartitionQueue(partition, self._new_batch, send, self._in_flight, self._not_acknowledged)
            self._queues[topic.name, partition] = queue
        return queue

    def _new_batch(self) -> Any:
        assert self._producer is not None
        return self._producer.create_batch()

    async def _send(self, topic: str, batch: Any, partition: int) -> None:
        producer = self._producer
        assert producer is not None
        try:
            if self._in_flight.records and not self._sending:
                self._acknowledged_at = time.monotonic()
            self._sending += 1
            try:
                acknowledged = await producer.send_batch(batch, topic, partition=partition)
                await acknowledged
            finally:
                self._sending -= 1
            self._acknowledged_at = time.monotonic()
        except Exception:
            await self._renew(producer)
            raise

    async def _renew(self, broken: AIOKafkaProducer) -> None:
        """Replace a failed producer; concurrent calls replace it once."""
        async with self._renewing:
            if self._producer is not broken or self._admin is None:
                return
            log.error("producer_replaced")
            fresh = self._new_producer()
            while True:
                try:
                    await fresh.start()
                    self._not_started.over()
                    break
                except (KafkaError, OSError) as error:
                    self._not_started.failed(repr(error))
                    await asyncio.sleep(0.5)
            self._producer = fresh
            await _stop(broken, timeout=1.0)

    def _new_producer(self) -> AIOKafkaProducer:
        return kafka.producer(
            self._settings,
            "touchline-ingest",
            linger_ms=0,
            # A request to a frozen broker times out, and is retried, before its senders time out.
            request_timeout_ms=max(100, int(self._settings.ack_timeout_seconds * 800)),
            retry_backoff_ms=50,
        )

    async def _close(self) -> None:
        """Flush and close within the ack timeout: every sender has an answer by then."""
        if self._producer is None:
            return
        if self._in_flight.records:
            log.info("flushing", records=self._in_flight.records)
        timeout = self._settings.ack_timeout_seconds if self._in_flight.records else _IDLE_CLOSE_SECONDS
        await _stop(self._producer, timeout=timeout)
        if self._in_flight.records:
            log.error("stopped_with_unacknowledged_records", records=self._in_flight.records)
        self.connected.clear()


@lru_cache(maxsize=32_768)
def _hash(key: bytes) -> int:
    """Kafka's default partitioner. Cached, since customers return and murmur2 in Python is slow."""
    return murmur2(key) & 0x7FFFFFFF


async def _stop(producer: AIOKafkaProducer, *, timeout: float) -> None:
    try:
        async with asyncio.timeout(timeout):
            await producer.stop()
    except TimeoutError:
        # It waits for an unavailable broker. Its senders were answered 503; nothing acknowledged is lost.
        log.warning("producer_closed_without_flush")
        await producer._sender.close()
        await producer.client.close()
    except Exception as error:  # closing a broken producer may fail in the way it broke
        log.warning("producer_not_closed", error=repr(error))
