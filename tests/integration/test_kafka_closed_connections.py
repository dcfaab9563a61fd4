"""Kind: a connection to Kafka that closes at an unlucky moment, and a client whose background task has ended."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest
from touchline_devstack.stack import Stack
from touchline_notifier.adapters.kafka.consumer import KafkaRecordConsumer
from touchline_runtime.config.settings import ServiceSettings, read_settings
from touchline_runtime.kafka import clients as kafka
from touchline_runtime.kafka.background_tasks import BackgroundTaskEndedError, Consumer
from touchline_runtime.kafka.shutdown import stop_client
from touchline_stage_engine.adapters.kafka.consumer import KafkaTouchpointConsumer
from touchline_stage_engine.adapters.kafka.topics import ensure_topics
from touchline_stage_engine.application.errors import KafkaAwayError
from touchline_stage_engine.settings import StageEngineSettings

from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack
TICKS = range(8)
"""How many iterations of the event loop pass between the end of a connection and the next request."""
CLOSING = {"reset": "abort", "closed": "close"}
"""What happened → the method of the transport that does it."""
ENDED: dict[str, Callable[[Consumer], asyncio.Task[None]]] = {
    "fetcher": lambda consumer: consumer._fetcher._fetch_task,
    "metadata": lambda consumer: consumer._client._sync_task,
}


@pytest.fixture
def settings(stack: Stack) -> ServiceSettings:
    return read_settings(ServiceSettings, kafka_bootstrap_servers=stack.kafka_bootstrap, topic_prefix=unique_name())


def unique_name() -> str:
    return f"closed-{os.urandom(4).hex()}"


async def passed(ticks: int) -> None:
    for _ in range(ticks):
        await asyncio.sleep(0)


async def connected(settings: ServiceSettings) -> AIOKafkaConnection:
    ((host, port),) = kafka.addresses(settings)
    return await create_conn(host, port, client_id="test", request_timeout_ms=30_000)


@pytest.mark.parametrize("how", CLOSING)
def test_a_request_on_a_closed_connection_is_a_connection_error(settings: ServiceSettings, how: str) -> None:
    async def run() -> None:
        refused = 0
        for ticks in TICKS:
            connection = await connected(settings)
            writer = connection._writer
            getattr(writer.transport, CLOSING[how])()
            await passed(ticks)
            if connection._writer is not None and ticks:
                try:
                    writer.write(b"")
                except RuntimeError:
                    refused += 1
            with pytest.raises(KafkaConnectionError):
                await connection.send(MetadataRequest([]))
            assert connection._writer is None
        assert refused, "uvloop no longer refuses: closed_connections.py is needed no more"

    uvloop.run(run())


# With warnings as errors, uvloop waits for ever for a connection that was left open when it closes.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_consumer_whose_connections_close_reads_everything(settings: ServiceSettings) -> None:
    where, number = TopicPartition(unique_name(), 0), 60

    async def run() -> None:
        async with kafka.Admin(settings, "test") as admin:
            await admin.ensure_topics([kafka.WantedTopic(where.topic, 1, {})])
        async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers) as producer:
            for index in range(number):
                await producer.send_and_wait(where.topic, str(index).encode(), partition=0)
        # One record a fetch: each fetch is sent when the record before it has been taken.
        consumer = kafka.consumer(settings, "test", max_partition_fetch_bytes=1, retry_backoff_ms=1)
        await consumer.start()
        try:
            consumer.assign([where])
            consumer.seek(where, 0)
            found: list[bytes] = []

            def is_fetched() -> bool:
                return where in consumer._fetcher._records

            while len(found) < number:
                await wait_until(is_fetched, f"record {len(found)} is fetched", interval=0.001)
                found += [record.value for record in (await consumer.getmany(timeout_ms=100)).get(where, [])]
                if len(found) == number:
                    break
                # The next fetch is sent now.
                await passed(len(found) % len(TICKS))
                for connection in list(consumer._client._conns.values()):
                    reader, writer = connection._reader, connection._writer
                    if writer is not None and not writer.transport.is_closing():
                        # While a part of an answer is unread, aiokafka takes the connection for open.
                        reader.feed_data(b"\0")
                        writer.transport.abort()
            assert found == [str(index).encode() for index in range(number)]
            # Connected again: a connection that is being made when the event loop ends is left open.
            await consumer.end_offsets([where])
        finally:
            await stop_client(consumer.stop(), 5, "test")

    uvloop.run(run())


@pytest.mark.parametrize("task", ENDED)
async def test_a_consumer_whose_background_task_ended_says_so(settings: ServiceSettings, task: str) -> None:
    consumer = kafka.consumer(settings, "test")
    await consumer.start()
    try:
        consumer.check()
        await ended(ENDED[task](consumer))
        with pytest.raises(BackgroundTaskEndedError, match=task):
            await consumer.getmany(timeout_ms=100)
    finally:
        await consumer.stop()


async def test_a_producer_whose_background_task_ended_says_so(settings: ServiceSettings) -> None:
    producer = kafka.producer(settings, "test")
    await producer.start()
    try:
        await ended(producer.client._sync_task)
        sending: list[Awaitable[Any]] = [
            producer.send("t", b"x"), producer.send_batch(producer.create_batch(), "t", partition=0),
        ]  # fmt: skip
        for one in sending:
            with pytest.raises(BackgroundTaskEndedError, match="metadata"):
                await one
    finally:
        await producer.stop()


@pytest.mark.parametrize("which", ["_consumer", "_written"])
@pytest.mark.parametrize("task", ENDED)
async def test_the_engine_replaces_a_consumer_whose_background_task_ended(stack: Stack, task: str, which: str) -> None:
    settings = read_settings(
        StageEngineSettings,
        kafka_bootstrap_servers=stack.kafka_bootstrap,
        topic_prefix=unique_name(),
        database_url="postgresql://nobody@127.0.0.1/none",
        partitions=1,
    )
    async with kafka.Admin(settings, "test") as admin:
        inputs = await ensure_topics(admin, settings)
    consumer, assigned = KafkaTouchpointConsumer(settings, inputs, "test"), asyncio.Event()
    failed: list[Exception] = []

    async def note_assigned(partitions: set[int]) -> None:
        assigned.set()

    async def note_revoked(partitions: set[int]) -> None:
        pass

    # A membership that failed is ended, and the next one begins with new clients.
    for _ in range(2):
        assigned.clear()
        await consumer.start(note_assigned, note_revoked, failed.append)
        watching = asyncio.create_task(consumer.watch(asyncio.Event(), lambda: []))
        try:
            await assigned.wait()
            assert not failed
            await ended(ENDED[task](getattr(consumer, which)))
            await watching
            (error,) = failed
            assert isinstance(error, KafkaAwayError)
            assert task in str(error)
            failed.clear()
        finally:
            watching.cancel()
            await consumer.stop()


@pytest.mark.parametrize("task", ENDED)
async def test_the_notifier_ends_a_session_whose_consumer_works_no_more(settings: ServiceSettings, task: str) -> None:
    consumer = KafkaRecordConsumer(settings, None)
    await consumer._consumer.start()
    try:
        await ended(ENDED[task](consumer._consumer))
        with pytest.raises(BackgroundTaskEndedError, match=task):
            await consumer.fetch(10)
    finally:
        await consumer.stop()


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
