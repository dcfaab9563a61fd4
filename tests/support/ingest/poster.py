"""Somebody who posts to ingest without pause, and what is on the topic in the end."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.support.waiting import wait_until

KEY = "a-key"
PARTITIONS = 4


class Poster:
    """Posts batches as fast as they are answered, by several hands, and remembers what was accepted.

    A batch is sent again, under its ids, until it is accepted.
    """

    def __init__(self, url: str, hands: int = 4, size: int = 20) -> None:
        self._url = url
        self._hands = hands
        self._size = size
        self.accepted: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.unanswered = 0
        self._stop = asyncio.Event()

    async def __aenter__(self) -> "Poster":
        self._client = httpx.AsyncClient(timeout=60, trust_env=False, headers={"authorization": f"Bearer {KEY}"})
        self._tasks = [asyncio.create_task(self._post(hand)) for hand in range(self._hands)]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        await self._client.aclose()

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def accepts(self, more: int) -> None:
        """Wait until that many more are accepted."""
        goal = len(self.accepted) + more
        await wait_until(lambda: len(self.accepted) >= goal)

    async def hears(self, status: int) -> None:
        """Wait until an answer has that status."""
        before = self.statuses[status]
        await wait_until(lambda: self.statuses[status] > before)

    async def _post(self, hand: int) -> None:
        number = 0
        while not self._stop.is_set():
            batch = [
                {
                    "id": f"{hand}-{number}-{item}",
                    "type": "page_viewed",
                    "customer_id": f"c-{hand}-{item}",
                    "occurred_at": "2026-03-01T12:00:00Z",
                    "properties": {"number": number},
                }
                for item in range(self._size)
            ]
            number += 1
            while not await self._sent(batch) and not self._stop.is_set():  # noqa: ASYNC110 - it asks again
                await asyncio.sleep(0.05)

    async def _sent(self, batch: list[dict[str, Any]]) -> bool:
        try:
            response = await self._client.post(f"{self._url}/v1/touchpoints", json=batch)
        except httpx.TransportError:
            self.unanswered += 1
            return False
        self.statuses[response.status_code] += 1
        self.accepted += [r["id"] for r in response.json().get("results", ()) if r["status"] == "accepted"]
        return response.status_code == 202


async def stored(bootstrap: str, prefix: str) -> list[dict[str, Any]]:
    """Every touchpoint on the topic, by partition and offset."""
    return [orjson.loads(value) for value in await values_on(bootstrap, f"{prefix}.touchpoints.v1")]


async def values_on(bootstrap: str, topic: str) -> list[bytes]:
    """Every record's value on a topic, by partition and offset."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    await consumer.start()
    try:
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        found: list[bytes] = []
        for partition in partitions:
            while await consumer.position(partition) < ends[partition]:
                for records in (await consumer.getmany(partition, timeout_ms=500)).values():
                    found += [record.value for record in records]
        return found
    finally:
        await consumer.stop()
