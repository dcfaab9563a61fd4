"""Read the end offsets of the touchpoints topic, from which lag is computed. Kafka is asked every few seconds."""

import asyncio
import time

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.kafka import clients as kafka
from touchline_schemas.topics import TOUCHPOINTS

CACHE_SECONDS = 3.0
TIMEOUT_SECONDS = 2.0


class KafkaTopicEndOffsets:
    """Implements the port `TopicEndOffsets`."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._lock = asyncio.Lock()
        self._cached: tuple[float, dict[int, int]] = (float("-inf"), {})

    async def ends(self) -> dict[int, int]:
        """Partition → end offset, a few seconds old at most; empty when Kafka does not answer in time."""
        async with self._lock:
            if time.monotonic() - self._cached[0] > CACHE_SECONDS:
                self._cached = (time.monotonic(), await self._ask())
            return self._cached[1]

    async def _ask(self) -> dict[int, int]:
        consumer: AIOKafkaConsumer = kafka.consumer(
            self._settings, "touchline-topic-ends", auto_offset_reset="earliest"
        )
        topic = TOUCHPOINTS.full_name(self._settings.topic_prefix)
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await consumer.start()
                pairs = [TopicPartition(topic, number) for number in range(self._settings.partitions)]
                return {pair.partition: end for pair, end in (await consumer.end_offsets(pairs)).items()}
        except (KafkaError, OSError, TimeoutError):
            return {}
        finally:
            await consumer.stop()
