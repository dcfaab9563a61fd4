"""Clients that notice when one of aiokafka's background tasks has ended.

aiokafka reports such an end in its log only. A consumer without its fetcher returns empty batches, and a client whose
metadata is no longer updated waits for it without end.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

from aiokafka import AIOKafkaClient, AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError


class BackgroundTaskEndedError(KafkaError):  # type: ignore[misc]  # aiokafka ships no types
    """A background task of a client has ended: the client works no more, and another one has to take its place."""


class Consumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka ships no types
    """A consumer that raises an error instead of returning nothing for ever."""

    def check(self) -> None:
        """Check that the consumer works by itself; brokers may be away.

        Raises:
            BackgroundTaskEndedError: it does not; replace it.
        """
        _check(self._background())

    def _background(self) -> Iterator[tuple[str, asyncio.Task[Any] | None]]:
        yield from _of_client(self._client)
        if self._fetcher is not None:
            yield "fetcher", self._fetcher._fetch_task

    async def getmany(self, *partitions: TopicPartition, **arguments: Any) -> dict[TopicPartition, list[Any]]:
        """As aiokafka's.

        Raises:
            BackgroundTaskEndedError: nothing is fetched any more.
        """
        self.check()
        return await super().getmany(*partitions, **arguments)  # type: ignore[no-any-return]


class Producer(AIOKafkaProducer):  # type: ignore[misc]  # aiokafka ships no types
    """A producer that raises an error instead of waiting for ever."""

    async def send(self, *arguments: Any, **more: Any) -> asyncio.Future[Any]:
        """As aiokafka's.

        Raises:
            BackgroundTaskEndedError: nothing is sent any more.
        """
        _check(self._background())
        return await super().send(*arguments, **more)  # type: ignore[no-any-return]

    async def send_batch(self, *arguments: Any, **more: Any) -> asyncio.Future[Any]:
        """As aiokafka's.

        Raises:
            BackgroundTaskEndedError: nothing is sent any more.
        """
        _check(self._background())
        return await super().send_batch(*arguments, **more)  # type: ignore[no-any-return]

    def _background(self) -> Iterator[tuple[str, asyncio.Task[Any] | None]]:
        # The end of the sender itself fails every batch with its error.
        yield from _of_client(self.client)


def _of_client(client: AIOKafkaClient) -> Iterator[tuple[str, asyncio.Task[Any] | None]]:
    yield "metadata", client._sync_task


def _check(tasks: Iterator[tuple[str, asyncio.Task[Any] | None]]) -> None:
    for name, task in tasks:
        if task is not None and task.done():
            error = None if task.cancelled() else task.exception()
            raise BackgroundTaskEndedError(f"aiokafka's {name} task has ended: {error!r}") from error
