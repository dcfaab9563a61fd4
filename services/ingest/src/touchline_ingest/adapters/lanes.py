"""Lanes: one a partition, each with one batch on its way to the broker and everything else waiting behind it.

While a batch is on its way the next one gathers, so that batches are as large as the load makes them, nothing waits
for a linger time, and what concerns one key stays in order. aiokafka's own ``send`` costs a future and a queue entry a
record; here a whole request costs one future.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog

from touchline_ingest.adapters.in_flight import InFlight
from touchline_ingest.core.records import Record

log = structlog.get_logger(__name__)


class Shipment:
    """The records of one request, on several lanes; settled when all of its parts are."""

    __slots__ = ("done", "open_parts", "parts", "reason", "unacknowledged")

    def __init__(self, done: "asyncio.Future[None]") -> None:
        self.done = done
        self.parts: list[Part] = []
        self.open_parts = 0
        self.unacknowledged: set[int] = set()
        self.reason = ""

    def part_settled(self) -> None:
        """One part of it is settled."""
        self.open_parts -= 1
        if self.open_parts == 0 and not self.done.done():
            self.done.set_result(None)

    def abandon(self) -> None:
        """Nobody waits any longer: what has not been handed to the broker is taken back."""
        for part in self.parts:
            part.lane.take_back(part)


class Part:
    """The records of one request for one partition, in order; ``next`` is the first not yet handed to the broker."""

    __slots__ = ("acknowledged", "indices", "lane", "next", "records", "shipment")

    def __init__(self, shipment: Shipment, lane: "Lane") -> None:
        self.shipment = shipment
        self.lane = lane
        self.records: list[Record] = []
        self.indices: list[int] = []
        self.next = 0
        self.acknowledged = 0


SendBatch = Callable[[Any, int], Awaitable[None]]
"""(a closed aiokafka batch, partition) → returns when it is acknowledged, raises when it never will be."""


class Lane:
    """What goes to one partition of one topic."""

    def __init__(self, partition: int, new_batch: Callable[[], Any], send: SendBatch, in_flight: InFlight) -> None:
        self._partition = partition
        self._new_batch = new_batch
        self._send = send
        self._in_flight = in_flight
        # A dict keeps the order and lets a part be taken back without walking the queue.
        self._waiting: dict[Part, None] = {}
        self._task: asyncio.Task[None] | None = None

    def put(self, part: Part) -> None:
        """Queue a part."""
        self._waiting[part] = None
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work(), name=f"lane-{self._partition}")

    def take_back(self, part: Part) -> None:
        """Drop what of a part has not been handed to the broker."""
        if part in self._waiting:
            del self._waiting[part]
            self._release(part.records[part.next :])
            del part.records[part.next :]

    @property
    def idle(self) -> bool:
        """Whether nothing is waiting or on its way."""
        return self._task is None

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, taken = self._fill()
                await self._ship(batch, taken)
        finally:
            self._task = None

    def _fill(self) -> tuple[Any, list[tuple[Part, int]]]:
        """A batch of what waits, up to its size: (batch, how many of each part)."""
        batch = self._new_batch()
        append = batch.append
        taken: list[tuple[Part, int]] = []
        for part in list(self._waiting):
            start = part.next
            for record in part.records[start:]:
                if append(timestamp=None, key=record.key, value=record.value, headers=record.headers) is None:
                    break
                part.next += 1
            if part.next > start:
                taken.append((part, part.next - start))
            if part.next < len(part.records):
                break
            del self._waiting[part]
        # A closed batch does not linger.
        batch.close()
        return batch, taken

    async def _ship(self, batch: Any, taken: list[tuple[Part, int]]) -> None:
        reason = ""
        try:
            await self._send(batch, self._partition)
        except Exception as error:  # whatever the driver says: these records have no acknowledgement
            reason = f"Kafka refused them: {type(error).__name__}: {error}"
            log.error("batch_not_acknowledged", partition=self._partition, error=repr(error))
        for part, count in taken:
            start = part.acknowledged
            shipment = part.shipment
            self._release(part.records[start : start + count])
            if reason:
                shipment.unacknowledged.update(part.indices[start : start + count])
                shipment.reason = reason
            part.acknowledged += count
            if part.acknowledged == len(part.indices):
                shipment.part_settled()

    def _release(self, records: Sequence[Record]) -> None:
        self._in_flight.release(len(records), sum([record.size for record in records]))
