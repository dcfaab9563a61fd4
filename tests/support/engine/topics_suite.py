"""What sessions rely on of the consumer and the outbox publisher: run on the topics in memory and on Kafka."""

import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from touchline_stage_engine.application.batches.changes import Changes
from touchline_stage_engine.application.outbox_records import STAGE_CHANGES, Outgoing, identity_message
from touchline_stage_engine.application.ports import PartitionLease
from touchline_stage_engine.application.values import Records

from tests.support.waiting import wait_until

PARTITION = 1
SENT_AT = "2026-03-01T00:00:00Z"


class Reading(Protocol):
    """A consumer of one partition, and its topics."""

    @property
    def consumer(self) -> Any:
        """The consumer, as far as sessions use it."""

    async def write(self, topic: str, *values: bytes) -> None:
        """Append to the partition of ``touchpoints`` or ``identity``."""

    async def begin(self, touchpoints: int, identity: int) -> None:
        """Read from these positions on."""

    async def look(self) -> None:
        """Return once the ends have been fetched that the topics have now."""

    async def poll(self) -> Records | None:
        """The next records."""


async def read(reading: Reading, touchpoints: int, identity: int) -> Records:
    """Poll until that many records have come."""
    found = Records([], [])

    async def all_came() -> bool:
        records = await reading.poll()
        if records is not None:
            assert records.touchpoints or records.identity
            found.touchpoints.extend(records.touchpoints)
            found.identity.extend(records.identity)
            reading.consumer.done(PARTITION, *(position or 0 for position in found.positions_after))
        return (len(found.touchpoints), len(found.identity)) == (touchpoints, identity)

    await wait_until(all_came, f"{touchpoints} touchpoints and {identity} messages have come")
    return found


class TouchpointConsumerSuite:
    """Subclasses provide the fixture ``reading``: topics without a record, read from the beginning."""

    async def test_records_come_once_and_in_order(self, reading: Reading) -> None:
        values = [b"%d" % number for number in range(20)]
        await reading.write("touchpoints", *values[:10])
        await reading.write("identity", b"message")
        first = await read(reading, 10, 1)
        await reading.write("touchpoints", *values[10:])
        second = await read(reading, 10, 0)
        records = [*first.touchpoints, *second.touchpoints]
        assert [record.value for record in records] == values
        assert [record.offset for record in records] == list(range(20))
        assert {record.partition for record in records} == {PARTITION}
        assert [record.value for record in first.identity] == [b"message"]
        assert await reading.poll() is None
        assert (first.positions_after, second.positions_after) == ((10, 1), (20, None))

    async def test_a_partition_is_read_from_the_stored_positions_on(self, reading: Reading) -> None:
        await reading.write("touchpoints", b"0", b"1", b"2")
        await reading.write("identity", b"0", b"1")
        await reading.begin(2, 1)
        records = await read(reading, 1, 1)
        assert [(record.offset, record.value) for record in (*records.touchpoints, *records.identity)] == [
            (2, b"2"), (1, b"1"),
        ]  # fmt: skip

    async def test_it_has_caught_up_with_a_clock_reading_once_what_was_there_by_then_is_read(
        self, reading: Reading
    ) -> None:
        consumer = reading.consumer
        await reading.look()
        before = time.time_ns() // 1000
        await reading.write("touchpoints", b"0", b"1")
        await reading.write("identity", b"0")
        await reading.look()
        assert consumer.caught_up_at(PARTITION) is None, "they are not read"
        assert not consumer.has_all_messages(PARTITION)
        await read(reading, 2, 1)
        at = consumer.caught_up_at(PARTITION)
        assert at is not None
        assert before <= at <= time.time_ns() // 1000
        assert consumer.has_all_messages(PARTITION)
        await reading.write("touchpoints", b"2")
        await reading.look()
        assert consumer.caught_up_at(PARTITION) is None, "there is one more"
        assert consumer.has_all_messages(PARTITION), "none of them is a message"
        await read(reading, 1, 0)
        later = consumer.caught_up_at(PARTITION)
        assert later is not None
        assert later > at


class Publishing(Protocol):
    """The outbox of one partition, and the topics that it is published to."""

    def owner(self) -> AbstractAsyncContextManager["Owner"]:
        """Take the partition, from the owner that it may have; publish nothing yet."""

    async def published(self) -> Sequence[tuple[int, bytes | None, bytes | None]]:
        """What is on the topics: topic, key and value, in the order of publication of each topic."""


class Owner(Protocol):
    """The owner of the partition."""

    lease: PartitionLease
    publisher: Any

    async def publish(self) -> None:
        """Return once everything that is committed is published."""


async def commit(owner: Owner, *records: Outgoing) -> None:
    """Commit records and offer them, as a writer does."""
    changes, position = Changes(), owner.lease.position
    changes.outbox.extend(records)
    async with owner.lease.fenced_transaction() as tables:
        await tables.write(changes, [], 1)
    owner.publisher.offer(position.last_outbox_id + 1, changes.outbox)
    position.last_outbox_id += len(records)


def fact(number: int) -> Outgoing:
    return Outgoing(STAGE_CHANGES, PARTITION, b"ada", [], b"%d" % number)


class OutboxPublisherSuite:
    """Subclasses provide the fixture ``publishing``."""

    async def test_records_are_published_once_and_in_the_order_of_their_commits(self, publishing: Publishing) -> None:
        async with publishing.owner() as owner:
            first = owner.lease.position.last_outbox_id
            await commit(owner, fact(1), fact(2))
            await commit(owner, fact(3))
            await owner.publish()
            await commit(owner, fact(4))
            await owner.publish()
            assert owner.publisher.published_through == owner.lease.position.last_outbox_id == first + 4
        assert [value for _, _, value in await publishing.published()] == [b"1", b"2", b"3", b"4"]

    async def test_a_message_reaches_the_partition_of_its_key(self, publishing: Publishing) -> None:
        async with publishing.owner() as owner:
            await commit(owner, fact(1), identity_message("bob", "touchline.link-removed", {"before": 1}, SENT_AT))
            await owner.publish()
        keys = {topic: key for topic, key, _ in await publishing.published()}
        assert sorted(key or b"" for key in keys.values()) == [b"ada", b"bob"]

    async def test_a_successor_publishes_what_its_predecessor_left_and_nothing_twice(
        self, publishing: Publishing
    ) -> None:
        async with publishing.owner() as owner:
            await commit(owner, fact(1))
            await owner.publish()
        async with publishing.owner() as owner:
            await commit(owner, fact(2), fact(3))
        async with publishing.owner() as owner:
            await commit(owner, fact(4))
            await owner.publish()
            assert owner.publisher.published_through == owner.lease.position.last_outbox_id
        assert [value for _, _, value in await publishing.published()] == [b"1", b"2", b"3", b"4"]
