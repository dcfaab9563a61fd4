"""The dead-letters topic, read from its beginning to where it ends now."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

from aiokafka import TopicPartition
from touchline_runtime import kafka
from touchline_schemas.topics import DEAD_LETTERS

from touchline_ingest.core.replay import Letter
from touchline_ingest.settings import IngestSettings


async def read_letters(settings: IngestSettings) -> AsyncIterator[Letter]:
    """Every dead letter there is, by partition and offset.

    Raises:
        Unavailable: no broker answered within the start-up time.
    """
    topic = DEAD_LETTERS.full_name(settings.topic_prefix)
    async with kafka.Admin(settings, "touchline-ingest-dead-letters") as admin:
        if topic not in await admin.client.list_topics():
            return
        (described,) = await admin.client.describe_topics([topic])
    partitions = sorted(TopicPartition(topic, found["partition"]) for found in described["partitions"])
    consumer = kafka.consumer(settings, "touchline-ingest-dead-letters", auto_offset_reset="earliest")
    await kafka.start_patiently(consumer, settings)
    try:
        ends = await consumer.end_offsets(partitions)
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        for partition in partitions:
            while await consumer.position(partition) < ends[partition]:
                batch = await consumer.getmany(partition, timeout_ms=1000, max_records=500)
                for record in batch.get(partition, ()):
                    yield Letter(
                        partition=record.partition,
                        offset=record.offset,
                        at=datetime.fromtimestamp(record.timestamp / 1000, UTC),
                        key=record.key,
                        value=record.value or b"",
                        headers=tuple(record.headers),
                    )
    finally:
        await consumer.stop()
