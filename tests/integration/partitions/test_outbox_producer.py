"""The outbox producer on a real Kafka: each record once, whatever happens to the owners."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from touchline_partitions.errors import FencedError
from touchline_partitions.outbox_producer import OutboxProducer, Published
from touchline_runtime.config.settings import ServiceSettings, read_settings
from touchline_runtime.kafka import clients as kafka

pytestmark = pytest.mark.stack


class Record(NamedTuple):
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


def records(*numbers: int) -> list[Record]:
    return [Record(b"key", str(number).encode(), [("n", b"1")]) for number in numbers]


@pytest.fixture
async def settings(kafka_bootstrap: str, topic_prefix: str) -> ServiceSettings:
    """The topics `<prefix>.facts` and `<prefix>.other` exist."""
    made = read_settings(ServiceSettings, kafka_bootstrap_servers=kafka_bootstrap, topic_prefix=topic_prefix)
    async with kafka.Admin(made, "test") as admin:
        await admin.ensure_topics(kafka.WantedTopic(f"{topic_prefix}.{name}", 2, {}) for name in ("facts", "other"))
    return made


class Owners:
    """Producers of partition 1, closed at the end."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self.made: list[OutboxProducer] = []
        self.facts = (f"{settings.topic_prefix}.facts", 1)
        self.other = (f"{settings.topic_prefix}.other", 0)

    async def start(self) -> tuple[OutboxProducer, Published]:
        prefix = self._settings.topic_prefix
        producer = OutboxProducer(
            self._settings, transactional_id=f"{prefix}-relay-1", group=f"{prefix}.relay", topic=self.facts[0],
            partition=1,
        )  # fmt: skip
        self.made.append(producer)
        return producer, await producer.start()

    async def read(self, at: tuple[str, int]) -> list[int]:
        """The committed records of a partition."""
        where = TopicPartition(*at)
        async with kafka.consumer(self._settings, "test", auto_offset_reset="earliest") as consumer:
            consumer.assign([where])
            end = (await consumer.end_offsets([where]))[where]
            found = []
            while await consumer.position(where) < end:
                found += (await consumer.getmany(where, timeout_ms=200)).get(where, [])
            return [int(record.value) for record in found]


@pytest.fixture
async def owners(settings: ServiceSettings) -> AsyncIterator[Owners]:
    made = Owners(settings)
    yield made
    for producer in made.made:
        await producer.close()


async def test_a_successor_is_told_how_far_its_predecessor_published(owners: Owners) -> None:
    first, published = await owners.start()
    assert published == Published(0, "")
    await first.publish({owners.facts: records(1, 2), owners.other: records(3)}, 3, "era=4")
    _, published = await owners.start()
    assert published == Published(3, "era=4")
    assert (await owners.read(owners.facts), await owners.read(owners.other)) == ([1, 2], [3])


async def test_a_predecessor_frozen_inside_its_transaction_is_fenced_and_its_records_are_aborted(
    owners: Owners,
) -> None:
    first, _ = await owners.start()
    await first.publish({owners.facts: records(1)}, 1)
    producer = first._producer
    assert producer is not None
    await producer.begin_transaction()
    await producer.send_and_wait(owners.facts[0], b"2", key=b"key", partition=owners.facts[1])

    second, published = await owners.start()
    assert published.through == 1
    await second.publish({owners.facts: records(2, 3)}, 3)
    with pytest.raises(KafkaError):
        await producer.commit_transaction()
    assert await owners.read(owners.facts) == [1, 2, 3]


async def test_a_fenced_producer_publishes_nothing_more(owners: Owners) -> None:
    first, _ = await owners.start()
    second, _ = await owners.start()
    with pytest.raises(FencedError):
        await first.publish({owners.facts: records(1)}, 1)
    await second.publish({owners.facts: records(1)}, 1)
    assert await owners.read(owners.facts) == [1]


async def test_records_of_a_transaction_larger_than_a_kafka_batch_arrive_in_order(owners: Owners) -> None:
    first, _ = await owners.start()
    large = [Record(b"key", b"%d" % number, [("padding", b"x" * 50_000)]) for number in range(60)]
    await first.publish({owners.facts: large}, 60)
    assert await owners.read(owners.facts) == list(range(60))
