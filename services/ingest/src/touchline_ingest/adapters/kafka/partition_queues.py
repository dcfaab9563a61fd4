"""Partition queues: for each partition, one batch is in flight and all other records wait behind it.

The next batch fills while one is in flight. So batch size follows the load, nothing waits for a linger time, and
records with the same key keep their order. aiokafka's own ``send`` costs a future and a queue entry for each record;
here a whole request costs one future.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from touchline_runtime.process.repeated_faults import FaultLog

from touchline_ingest.adapters.in_flight import InFlight
from touchline_ingest.core.touchpoints.records import Record


class ProduceRequest:
    """The records of one request, on several partitions; settled when all of its slices are."""

    __slots__ = ("done", "open_slices", "reason", "slices", "unacknowledged")

    def __init__(self, done: "asyncio.Future[None]") -> None:
        self.done = done
        self.slices: list[PartitionSlice] = []
        self.open_slices = 0
        self.unacknowledged: set[int] = set()
        self.reason = ""

    def slicesettled(self) -> None:
        """One slice is settled."""
        self.open_slices -= 1
        if self.open_slices == 0 and not self.done.done():
            self.done.set_result(None)

    def abandon(self) -> None:
        """The caller stopped waiting: take back the records that are not in flight yet."""
        for slice_ in self.slices:
            slice_.queue.withdraw(slice_)


class PartitionSlice:
    """The records of one request for one partition, in order; ``next`` is the first that is not in flight yet."""

    __slots__ = ("acknowledged", "indices", "next", "queue", "records", "request")

    def __init__(self, request: ProduceRequest, queue: "PartitionQueue") -> None:
        self.request = request
        self.queue = queue
        self.records: list[Record] = []
        self.indices: list[int] = []
        self.next = 0
        self.acknowledged = 0


SendBatch = Callable[[Any, int], Awaitable[None]]
"""(a closed aiokafka batch, partition) → returns when it is acknowledged, raises when it never will be."""


class PartitionQueue:
    """The records for one partition of one topic."""

    def __init__(
        self, partition: int, new_batch: Callable[[], Any], send: SendBatch, in_flight: InFlight, faults: FaultLog
    ) -> None:
        self._partition = partition
        self._new_batch = new_batch
        self._send = send
        self._in_flight = in_flight
        self._faults = faults
        # A dict keeps the order and allows to remove a slice without searching the queue.
        self._waiting: dict[PartitionSlice, None] = {}
        self._task: asyncio.Task[None] | None = None

    def put(self, slice_: PartitionSlice) -> None:
        """Queue a slice."""
        self._waiting[slice_] = None
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work(), name=f"queue-{self._partition}")

    def withdraw(self, slice_: PartitionSlice) -> None:
        """Remove the records of a slice that are not in flight yet."""
        if slice_ in self._waiting:
            del self._waiting[slice_]
            self._release(slice_.records[slice_.next :])
            del slice_.records[slice_.next :]

    @property
    def idle(self) -> bool:
        """Whether nothing is waiting or in flight."""
        return self._task is None

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, filled = self._fill()
                await self._produce(batch, filled)
        finally:
            self._task = None

    def _fill(self) -> tuple[Any, list[tuple[PartitionSlice, int]]]:
        """A batch of waiting records, up to the batch size, and how many records of each slice it contains."""
        batch = self._new_batch()
        append = batch.append
        filled: list[tuple[PartitionSlice, int]] = []
        for slice_ in list(self._waiting):
            start = slice_.next
            for record in slice_.records[start:]:
                if append(timestamp=None, key=record.key, value=record.value, headers=record.headers) is None:
                    break
                slice_.next += 1
            if slice_.next > start:
                filled.append((slice_, slice_.next - start))
            if slice_.next < len(slice_.records):
                break
            del self._waiting[slice_]
        # A closed batch does not linger.
        batch.close()
        return batch, filled

    async def _produce(self, batch: Any, filled: list[tuple[PartitionSlice, int]]) -> None:
        reason = ""
        try:
            await self._send(batch, self._partition)
        except Exception as error:  # whatever the driver raises, these records have no acknowledgement
            reason = f"Kafka did not accept them: {type(error).__name__}: {error}"
            self._faults.failed(repr(error), source=self._partition, reason=type(error).__name__)
        else:
            self._faults.over(self._partition)
        for slice_, count in filled:
            start = slice_.acknowledged
            request = slice_.request
            self._release(slice_.records[start : start + count])
            if reason:
                request.unacknowledged.update(slice_.indices[start : start + count])
                request.reason = reason
            slice_.acknowledged += count
            if slice_.acknowledged == len(slice_.indices):
                request.slicesettled()

    def _release(self, records: Sequence[Record]) -> None:
        self._in_flight.release(len(records), sum([record.size for record in records]))
