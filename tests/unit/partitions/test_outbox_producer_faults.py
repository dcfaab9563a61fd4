"""What an outbox producer raises for what aiokafka raises."""

import asyncio

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import GroupLoadInProgressError, KafkaConnectionError, ProducerFenced
from aiokafka.structs import OffsetAndMetadata
from touchline_partitions.errors import FencedError, Interrupted
from touchline_partitions.outbox_producer import OutboxProducer, Published, progress_of
from touchline_runtime.config.settings import ServiceSettings


@pytest.fixture
def producer() -> OutboxProducer:
    return OutboxProducer(
        ServiceSettings(), transactional_id="p-relay-7", group="p.relay", topic="p.facts.v1", partition=7
    )


async def test_another_owners_producer_is_a_fence(producer: OutboxProducer) -> None:
    with pytest.raises(FencedError, match="partition 7"):
        async with producer._in_time():
            raise ProducerFenced
    assert issubclass(FencedError, Interrupted)


async def test_a_cancellation_inside_the_client_is_not_taken_for_an_order_to_stop(producer: OutboxProducer) -> None:
    async def cancelled_inside() -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        async with producer._in_time():
            await future

    with pytest.raises(TimeoutError, match="p-relay-7"):
        await cancelled_inside()


async def test_an_order_to_stop_is_obeyed(producer: OutboxProducer) -> None:
    entered = asyncio.Event()

    async def work() -> None:
        async with producer._in_time():
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_faults_of_kafka_are_passed_on(producer: OutboxProducer) -> None:
    with pytest.raises(KafkaConnectionError):
        async with producer._in_time():
            raise KafkaConnectionError


async def test_close_before_start_does_nothing(producer: OutboxProducer) -> None:
    await producer.close()


def test_an_answer_without_the_partition_is_not_taken_for_an_outbox_that_was_never_published() -> None:
    here = TopicPartition("p.facts.v1", 7)
    assert progress_of({here: OffsetAndMetadata(5, "era=1")}, here) == Published(5, "era=1")
    assert progress_of({here: OffsetAndMetadata(-1, "")}, here) == Published(0, "")
    with pytest.raises(GroupLoadInProgressError, match="partition 7"):
        progress_of({}, here)
