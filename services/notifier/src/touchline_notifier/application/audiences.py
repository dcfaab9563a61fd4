"""Reads changes of membership of audiences: keeps the members, and plans deliveries to endpoints that subscribe.

It runs beside the sessions that decide: deciding does not wait for it, and a play's condition is about the members that
are known. Several processes share the partitions. Each batch is one transaction that moves the stored position from
where the reader found it, so that a process which was replaced writes nothing.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

import structlog
from touchline_runtime.kafka.shutdown import cancelled_by_us, unless_stopping
from touchline_runtime.process.isolation import isolate
from touchline_runtime.process.repeated_faults import FaultLog
from touchline_runtime.tracing import header_of
from touchline_schemas.cloudevents import from_headers
from touchline_schemas.events.audiences import AudienceEntered, AudienceLeft
from touchline_schemas.topics import AUDIENCE_CHANGES
from touchline_schemas.touchpoint import unstorable

from touchline_notifier.application.deciding.records import each, rejected
from touchline_notifier.application.session_ports import Diagnose, Record
from touchline_notifier.core.audiences.changes import MembershipChange
from touchline_notifier.core.decisions.outbox_records import Outgoing
from touchline_notifier.core.delivery.endpoints import Endpoint
from touchline_notifier.core.delivery.subscriptions import Planned, for_subscribers

log = structlog.get_logger(__name__)


class AudienceStore(Protocol):
    """Where members and positions are kept."""

    async def positions(self, partitions: Sequence[int]) -> dict[int, int]:
        """Partition → the offset to read on at; 0: from the beginning."""

    async def write(
        self,
        partition: int,
        changes: Sequence[MembershipChange],
        planned: Sequence[Planned],
        dead_letters: Sequence[Outgoing],
        *,
        expected: int,
        next_offset: int,
        now: datetime,
    ) -> bool:
        """Write everything in one transaction, if the position is still where it is expected; whether it was."""


class AudienceConsumer(Protocol):
    """The topic, as a member of a group."""

    async def start(self, assigned: Callable[[Sequence[int]], Awaitable[None]]) -> None:
        """Join the group."""

    async def fetch(self) -> Mapping[int, Sequence[Record]]:
        """Records by partition; after a moment, none."""

    async def seek(self, offsets: Mapping[int, int]) -> None:
        """Read on at these offsets, or at the nearest that exist."""

    async def stop(self) -> None:
        """Leave the group."""


class AudienceReader:
    """A component of the notifier's process.

    Args:
        consumer: makes one; a new one after each fault.
        endpoints: by name.
        wake_delivery: is called when deliveries were written.
    """

    name = "audience-reader"

    def __init__(
        self,
        store: AudienceStore,
        consumer: Callable[[], AudienceConsumer],
        endpoints: Mapping[str, Endpoint],
        diagnose: Diagnose,
        wake_delivery: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._open = consumer
        self._endpoints = endpoints
        self._diagnose = diagnose
        self._wake_delivery = wake_delivery
        self._positions: dict[int, int] = {}
        self._assignments = 0
        self._turn = asyncio.Lock()
        self._fault = FaultLog(log, "audiences_not_read")

    async def run(self, stopping: asyncio.Event) -> None:
        """Read until told to stop."""
        while not stopping.is_set():
            try:
                await self._session(stopping)
            except (Exception, asyncio.CancelledError) as error:
                if cancelled_by_us():
                    raise
                fault = self._diagnose(error)
                self._fault.failed(fault.text)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), fault.retry_seconds)

    async def _session(self, stopping: asyncio.Event) -> None:
        consumer = self._open()
        failed: list[Exception] = []

        async def assigned(partitions: Sequence[int]) -> None:
            try:
                async with self._turn:
                    self._assignments += 1
                    self._positions = await self._store.positions(partitions)
                    await consumer.seek(self._positions)
            except Exception as error:  # the consumer swallows what a listener raises
                failed.append(error)

        try:
            await unless_stopping(consumer.start(assigned), stopping)
            while not stopping.is_set():
                assignments = self._assignments
                fetched = await consumer.fetch()
                if failed:
                    raise failed[0]
                async with self._turn:
                    if self._assignments != assignments:
                        # The records may have been fetched before the seek.
                        await consumer.seek(self._positions)
                        continue
                    for partition, records in fetched.items():
                        if partition in self._positions and records:
                            await self._take(consumer, partition, records)
                self._fault.over()
        finally:
            await consumer.stop()

    async def _take(self, consumer: AudienceConsumer, partition: int, records: Sequence[Record]) -> None:
        moved = False

        async def write(part: Sequence[Record]) -> None:
            changes, dead = read_changes(part)
            await put(changes, dead, part[-1].offset + 1)

        async def reject(record: Record, error: Exception) -> None:
            log.error("record_rejected", partition=partition, offset=record.offset, exc_info=error)
            await put([], [rejected(record, error)], record.offset + 1)

        async def put(changes: Sequence[MembershipChange], dead: Sequence[Outgoing], after: int) -> None:
            nonlocal moved
            if moved:
                return
            now, expected = datetime.now(UTC), self._positions[partition]
            planned = self._planned(changes)
            if await self._store.write(
                partition, changes, planned, dead, expected=expected, next_offset=after, now=now
            ):
                self._positions[partition] = after
                if planned:
                    self._wake_delivery()
            else:
                moved = True

        await isolate(records, write, reject)
        if moved:
            # Another process has read these records.
            self._positions |= await self._store.positions([partition])
            await consumer.seek({partition: self._positions[partition]})

    def _planned(self, changes: Sequence[MembershipChange]) -> list[Planned]:
        subscribers = [endpoint for endpoint in self._endpoints.values() if endpoint.subscribe]
        return [
            delivery
            for change in changes
            for delivery in for_subscribers(change.type, change.ce_id, change.data, subscribers, trace=change.trace)
        ]


def read_changes(records: Sequence[Record]) -> tuple[list[MembershipChange], list[Outgoing]]:
    """Changes in order, and dead letters of what cannot be read; types of later versions are skipped."""
    changes, dead = each(records, _change)
    return [change for change in changes if change is not None], dead


def _change(record: Record) -> MembershipChange | None:
    context = from_headers(record.headers)
    model = AUDIENCE_CHANGES.events.get(context.type)
    if model is None:
        return None
    event = model.model_validate_json(record.value or b"")
    assert isinstance(event, AudienceEntered | AudienceLeft), "the registry has no other event"
    data = event.model_dump(mode="json")
    why = unstorable(data)
    if why:
        raise ValueError(why)
    return MembershipChange(
        context.type,
        context.id,
        event.customer_id,
        event.audience,
        isinstance(event, AudienceEntered),
        event.occurred_at,
        data,
        header_of(record.headers) or "",
    )
