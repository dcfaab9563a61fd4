"""The publishers: the one on Kafka and its twin in memory, each with a way to read what it published."""

from collections.abc import AsyncIterator

import pytest
from touchline_ingest.adapters.memory.publisher import MemoryPublisher
from touchline_ingest.bootstrap import connected
from touchline_ingest.settings import IngestSettings

from tests.support.ingest.published import InMemory, OnKafka, Published

MOST_RECORDS = 500


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.stack)])
async def published(request: pytest.FixtureRequest) -> AsyncIterator[Published]:
    """A publisher and what it published."""
    if request.param == "memory":
        yield InMemory(MemoryPublisher(most_records=MOST_RECORDS))
        return
    settings = IngestSettings(
        kafka_bootstrap_servers=request.getfixturevalue("kafka_bootstrap"),
        topic_prefix=request.getfixturevalue("topic_prefix"),
        partitions=3,
        max_in_flight_records=MOST_RECORDS,
    )
    async with connected(settings) as publisher:
        yield OnKafka(publisher, settings)
