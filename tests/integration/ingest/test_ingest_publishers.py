"""One suite for every publisher."""

import asyncio
import gc

import pytest
from touchline_ingest.application.ports import Overloaded
from touchline_ingest.core.touchpoints.records import Record
from touchline_schemas.partitions import partition_of
from touchline_schemas.topics import DEAD_LETTERS, TOUCHPOINTS

from tests.support.ingest.published import OnKafka, Published
from tests.support.waiting import wait_until


def records(count: int, key: str = "c", size: int = 10) -> list[Record]:
    return [
        Record(f"{key}-{n % 7}".encode(), f"{n}".encode().ljust(size), [("ce_id", str(n).encode())])
        for n in range(count)
    ]


async def test_what_it_reports_as_acknowledged_can_be_read_back(published: Published) -> None:
    sent = records(100)
    delivery = await published.publisher.publish(TOUCHPOINTS, sent)
    assert delivery.complete
    assert sorted(await published.read(TOUCHPOINTS)) == sorted(sent)
    await published.publisher.check()


async def test_records_of_one_key_stay_in_order_among_many_callers(published: Published) -> None:
    async def post(caller: int) -> None:
        for n in range(10):
            await published.publisher.publish(TOUCHPOINTS, [Record(b"same", f"{caller}/{n}".encode(), [])] * 3)

    await asyncio.gather(*(post(caller) for caller in range(8)))
    found = [record.value.decode() for record in await published.read(TOUCHPOINTS)]
    assert len(found) == 8 * 10 * 3
    for caller in range(8):
        own = [value for value in found if value.startswith(f"{caller}/")]
        assert own == [f"{caller}/{n}" for n in range(10) for _ in range(3)]


async def test_topics_are_kept_apart_and_a_record_may_have_no_key(published: Published) -> None:
    large = Record(None, b"x" * 900_000, [("reason", b"r")])
    assert (await published.publisher.publish(DEAD_LETTERS, [large, large])).complete
    assert (await published.read(DEAD_LETTERS)) == [large, large]
    assert await published.read(TOUCHPOINTS) == []


async def test_more_bytes_than_one_batch_holds_arrive_all_the_same(published: Published) -> None:
    sent = records(400, size=8_000)
    assert (await published.publisher.publish(TOUCHPOINTS, sent)).complete
    assert sorted(await published.read(TOUCHPOINTS)) == sorted(sent)


async def test_nothing_is_published_as_nothing(published: Published) -> None:
    assert (await published.publisher.publish(TOUCHPOINTS, [])).complete


async def test_beyond_what_may_be_in_flight_it_refuses_at_once_and_takes_nothing(published: Published) -> None:
    outcomes = await asyncio.gather(
        *(published.publisher.publish(TOUCHPOINTS, records(300, key=f"k{n}")) for n in range(4)), return_exceptions=True
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, Overloaded)]
    assert refused
    assert len(await published.read(TOUCHPOINTS)) == 300 * (4 - len(refused))
    assert (await published.publisher.publish(TOUCHPOINTS, records(300))).complete


async def test_a_caller_that_gives_up_leaves_no_room_taken(published: Published) -> None:
    for _ in range(5):
        task = asyncio.create_task(published.publisher.publish(TOUCHPOINTS, records(400)))
        await asyncio.sleep(0)
        task.cancel()
        # RequestRejection while what an earlier one handed over is still on its way: that is room well taken.
        with pytest.raises((asyncio.CancelledError, Overloaded)):
            await task

    async def taken() -> bool:
        try:
            return (await published.publisher.publish(TOUCHPOINTS, records(450))).complete
        except Overloaded:
            return False

    await wait_until(taken, "there is room again")


@pytest.mark.parametrize("published", [pytest.param("kafka", marks=pytest.mark.stack)], indirect=True)
async def test_on_kafka_a_key_lies_where_every_other_client_would_put_it(published: OnKafka) -> None:
    sent = [Record(f"customer-ä-{n}".encode(), b"v", []) for n in range(50)]
    await published.publisher.publish(TOUCHPOINTS, sent)
    for partition, record in await published.read_with_partitions(TOUCHPOINTS):
        assert record.key is not None
        assert partition == partition_of(record.key.decode(), 3)


@pytest.mark.parametrize("published", [pytest.param("kafka", marks=pytest.mark.stack)], indirect=True)
async def test_on_kafka_a_record_it_refuses_is_reported_and_does_not_break_the_next_ones(published: OnKafka) -> None:
    too_large = Record(b"c", b"x" * 2_000_000, [])
    delivery = await published.publisher.publish(TOUCHPOINTS, [too_large])
    assert not delivery.complete
    assert delivery.reason
    for _ in range(3):
        assert (await published.publisher.publish(TOUCHPOINTS, records(50))).complete
    assert len(await published.read(TOUCHPOINTS)) == 150


@pytest.mark.parametrize("published", [pytest.param("kafka", marks=pytest.mark.stack)], indirect=True)
async def test_on_kafka_an_acknowledged_record_does_not_wait_for_the_cyclic_collector(published: OnKafka) -> None:
    def alive() -> int:
        return sum(type(thing) is Record for thing in gc.get_objects())

    gc.collect()
    before = alive()
    gc.disable()
    try:
        for _ in range(3):
            assert (await published.publisher.publish(TOUCHPOINTS, records(100))).complete
        # The lanes' tasks end on a later turn of the loop.
        await wait_until(lambda: alive() <= before, "the records are gone", seen=alive)
    finally:
        gc.enable()
