"""The publisher on Kafka: idempotent, acks=all, bounded, and on its feet again by itself after an outage."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from touchline_runtime import kafka
from touchline_runtime.errors import Unavailable
from touchline_schemas.partitions import murmur2
from touchline_schemas.topics import DEAD_LETTERS, TOUCHPOINTS, Topic

from touchline_ingest.adapters.in_flight import InFlight
from touchline_ingest.adapters.lanes import Lane, Part, Shipment
from touchline_ingest.adapters.publisher import Delivery
from touchline_ingest.core.records import Record
from touchline_ingest.settings import IngestSettings

log = structlog.get_logger(__name__)

WRITTEN = (TOUCHPOINTS, DEAD_LETTERS)
"""The topics this service writes, and creates when they are missing."""

NOT_YET = "Kafka has not answered since this process started: try again shortly"


class KafkaPublisher:
    """Publishes to the topics of one prefix. A component: ``run`` connects, then serves until it is told to stop.

    An idempotent producer that had to give up a batch can't go on (its sequence has a gap), so that a failure replaces
    the producer. A broker that is away is no failure: the batch on its way is kept and delivered when it is back, by
    which time its senders have long been answered 503; what they send again has the same ids.
    """

    name = "kafka-publisher"

    def __init__(self, settings: IngestSettings, *, watch: Callable[[InFlight], None] | None = None) -> None:
        self._settings = settings
        self._in_flight = InFlight(settings.max_in_flight_records, settings.max_in_flight_bytes)
        self._names = {topic.name: topic.full_name(settings.topic_prefix) for topic in WRITTEN}
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._round_robin = itertools.count()
        self._producer: AIOKafkaProducer | None = None
        self._admin: kafka.Admin | None = None
        self._renewing = asyncio.Lock()
        self.connected = asyncio.Event()
        if watch is not None:
            watch(self._in_flight)

    async def run(self, stopping: asyncio.Event) -> None:
        """Connect, create missing topics, and stay until told to stop; then flush what was accepted.

        Raises:
            Unavailable: no broker answered within the start-up time.
            ConfigurationError: a topic has another number of partitions than configured.
        """
        prefix, partitions = self._settings.topic_prefix, self._settings.partitions
        async with kafka.Admin(self._settings, "touchline-ingest-admin") as admin:
            await admin.ensure_topics(
                kafka.WantedTopic(topic.full_name(prefix), partitions, topic.config()) for topic in WRITTEN
            )
            self._admin = admin
            self._producer = self._new_producer()
            try:
                await kafka.start_patiently(self._producer, self._settings)
                self.connected.set()
                log.info("kafka_connected", topics=sorted(self._names.values()))
                await stopping.wait()
            finally:
                self._admin = None
                await self._close()

    async def publish(self, topic: Topic, records: Sequence[Record]) -> Delivery:
        """Hand records over and wait for their acknowledgement; see :class:`Publisher`."""
        if not records:
            return Delivery()
        if not self.connected.is_set():
            return Delivery(frozenset(range(len(records))), NOT_YET)
        self._in_flight.take(len(records), sum([record.size for record in records]))
        shipment = Shipment(asyncio.get_running_loop().create_future())
        self._load(shipment, topic, records)
        timeout = self._settings.ack_timeout_seconds
        try:
            async with asyncio.timeout(timeout):
                await shipment.done
        except TimeoutError:
            missing = {index for part in shipment.parts for index in part.indices[part.acknowledged :]}
            shipment.abandon()
            reason = f"Kafka did not acknowledge within {timeout:g} s"
            return Delivery(frozenset(missing | shipment.unacknowledged), reason)
        except asyncio.CancelledError:
            # The sender hung up: what has not left yet need not leave any more.
            shipment.abandon()
            raise
        finally:
            # Each part knows its shipment: left so, the two and all records would wait for the cyclic collector.
            shipment.parts = []
        return Delivery(frozenset(shipment.unacknowledged), shipment.reason) if shipment.unacknowledged else Delivery()

    async def check(self) -> None:
        """Health: a broker answers a metadata request."""
        if self._admin is None or not self.connected.is_set():
            raise Unavailable(NOT_YET)
        await kafka.answers(self._admin)

    def _load(self, shipment: Shipment, topic: Topic, records: Sequence[Record]) -> None:
        count = self._settings.partitions
        parts: dict[int, Part] = {}
        for index, record in enumerate(records):
            number = next(self._round_robin) if record.key is None else _hash(record.key)
            partition = number % count
            part = parts.get(partition)
            if part is None:
                part = parts[partition] = Part(shipment, self._lane(topic, partition))
            part.records.append(record)
            part.indices.append(index)
        shipment.parts = list(parts.values())
        shipment.open_parts = len(parts)
        for part in shipment.parts:
            part.lane.put(part)

    def _lane(self, topic: Topic, partition: int) -> Lane:
        lane = self._lanes.get((topic.name, partition))
        if lane is None:

            async def send(batch: Any, to: int) -> None:
                await self._send(self._names[topic.name], batch, to)

            lane = Lane(partition, self._new_batch, send, self._in_flight)
            self._lanes[topic.name, partition] = lane
        return lane

    def _new_batch(self) -> Any:
        assert self._producer is not None
        return self._producer.create_batch()

    async def _send(self, topic: str, batch: Any, partition: int) -> None:
        producer = self._producer
        assert producer is not None
        try:
            acknowledged = await producer.send_batch(batch, topic, partition=partition)
            await acknowledged
        except Exception:
            await self._renew(producer)
            raise

    async def _renew(self, broken: AIOKafkaProducer) -> None:
        """Replace a producer that failed; whoever comes second finds it done."""
        async with self._renewing:
            if self._producer is not broken or self._admin is None:
                return
            log.error("producer_replaced")
            fresh = self._new_producer()
            while True:
                try:
                    await fresh.start()
                    break
                except (KafkaError, OSError) as error:
                    log.warning("producer_not_started", error=repr(error))
                    await asyncio.sleep(0.5)
            self._producer = fresh
            await _stop(broken, timeout=1.0)

    def _new_producer(self) -> AIOKafkaProducer:
        return kafka.producer(
            self._settings,
            "touchline-ingest",
            linger_ms=0,
            # A request to a frozen broker is given up, and tried again, before its senders are.
            request_timeout_ms=max(100, int(self._settings.ack_timeout_seconds * 800)),
            retry_backoff_ms=50,
        )

    async def _close(self) -> None:
        """Flush and close, within the ack timeout: whoever still waits has an answer by then."""
        if self._producer is None:
            return
        if self._in_flight.records:
            log.info("flushing", records=self._in_flight.records)
        await _stop(self._producer, timeout=self._settings.ack_timeout_seconds)
        if self._in_flight.records:
            log.error("stopped_with_unacknowledged_records", records=self._in_flight.records)
        self.connected.clear()


@lru_cache(maxsize=32_768)
def _hash(key: bytes) -> int:
    """As Kafka's default partitioner; customers come back, and hashing in Python is dear."""
    return murmur2(key) & 0x7FFFFFFF


async def _stop(producer: AIOKafkaProducer, *, timeout: float) -> None:
    try:
        async with asyncio.timeout(timeout):
            await producer.stop()
    except TimeoutError:
        # It waits for a broker that is away. Its senders were told 503; nothing acknowledged is lost.
        log.warning("producer_closed_without_flush")
        await producer._sender.close()
        await producer.client.close()
    except Exception as error:  # closing a broken producer may fail in the way it broke
        log.warning("producer_not_closed", error=repr(error))
