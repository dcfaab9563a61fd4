"""Fires the timers of one partition's customers by the clock."""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial

import structlog

from touchline_stage_engine.application.partitions.context import WorkerContext, clock
from touchline_stage_engine.application.partitions.isolation import each_part
from touchline_stage_engine.application.partitions.writer import PartitionWriter

log = structlog.get_logger(__name__)

_AT_ONCE = 500
_MANY = 50
"""Timers beyond which partitions take turns."""
_POSTPONED_SECONDS = 3600
_FIRST: tuple[int, str] = (-(1 << 62), "")
_RECHECK = 500_000
"""Microseconds between two checks while timers wait for other partitions, at least: a check passes over those."""


class Timers:
    """Fires what is due, once everything that was on the topics at that time has been folded."""

    def __init__(self, context: WorkerContext, writer: PartitionWriter, stop: asyncio.Event) -> None:
        self._context = context
        self._writer = writer
        self._stop = stop
        self._recheck_at = 0
        self._waiting_since: int | None = None
        """When the first of the timers that wait for other partitions was due; None: none waits."""

    async def fire(self, until: int) -> None:
        """Fire what is due at or before a clock reading (microseconds) whose topics' ends have been read past.

        Timers of customers with links fire up to the instant through which all partitions have caught up: any of them
        may still bring a touchpoint of a key that belongs to the customer.
        """
        writer, context = self._writer, self._context
        complete = context.consumer.has_all_messages(writer.partition)
        settled = context.catch_up.settled(until) if complete else 0
        if not self._is_any_due(until, settled):
            return
        after = _FIRST
        while not self._stop.is_set():
            async with writer.lease.reading() as tables:
                due = await tables.customers.with_timers_due(until, settled, after, _AT_ONCE)
            if not due:
                break
            customer_id, wake_at = due[-1]
            after = wake_at, customer_id
            keys = [customer_id for customer_id, _ in due]
            # Partitions take turns where there is much to do; a few timers do not wait.
            async with context.turns if len(due) > _MANY else nullcontext():
                await each_part(keys, partial(self._fire, until, settled), self._postpone, writer.reset)
            await writer.publisher.wait_for_capacity()
        async with writer.lease.reading() as tables:
            waiting_since = await tables.customers.next_wake()
            self._waiting_since = None if waiting_since is None or waiting_since > until else waiting_since
            writer.next_wake = await tables.customers.next_wake(until)
        self._recheck_at = until + (0 if self._waiting_since is None else _RECHECK)

    def _is_any_due(self, until: int, settled: int) -> bool:
        if until < self._recheck_at:
            return False
        next_wake, waiting_since = self._writer.next_wake, self._waiting_since
        return (next_wake is not None and next_wake <= until) or (
            waiting_since is not None and waiting_since <= settled
        )

    async def _fire(self, until: int, settled: int, keys: Sequence[str]) -> None:
        """Fire what is due of these customers."""
        writer = self._writer
        batch = writer.new_batch()
        async with writer.lease.reading() as tables:
            await batch.load(tables, keys)
        await writer.commit(batch, partial(batch.fire_timers, keys=keys, until=until, settled=settled))

    async def _postpone(self, customer_id: str, error: Exception) -> None:
        """A customer's timers cannot be fired: retry in an hour, so that they do not block the others."""
        writer = self._writer
        log.error("timers_failed", partition=writer.partition, retry_seconds=_POSTPONED_SECONDS, exc_info=error)
        async with writer.lease.fenced_transaction() as tables:
            await tables.customers.postpone_wake(customer_id, clock() + _POSTPONED_SECONDS * 1_000_000)
