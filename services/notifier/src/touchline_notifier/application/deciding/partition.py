"""One partition's work, each piece in one fenced transaction: touchpoints, facts, actions whose time has come."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from touchline_runtime.process.isolation import is_content_fault, isolate

from touchline_notifier.application.deciding.decide import (
    DecisionContext,
    DecisionCounts,
    apply_events,
    circumstances,
    decide_due,
)
from touchline_notifier.application.deciding.decision_traces import traced
from touchline_notifier.application.deciding.fold_touchpoints import fold_touchpoints
from touchline_notifier.application.deciding.read_positions import ReadPositions
from touchline_notifier.application.deciding.records import Batch, read_events, read_touchpoints, rejected
from touchline_notifier.application.ports import DecisionStore, PartitionLease
from touchline_notifier.application.session_ports import Record
from touchline_notifier.core.decisions.outbox_records import Outgoing
from touchline_notifier.core.decisions.stage_events import StageEvent

log = structlog.get_logger(__name__)

_DUE_AT_ONCE = 200
_WAIT_SECONDS = 1.0
_WAIT_RECORDS = 2000
_FAILED_RETRY_SECONDS = 600.0
"""When a waiting action that failed alone is decided again."""


@dataclass(frozen=True, slots=True)
class WaitingFacts:
    """Facts that were read, to be decided once touchpoints have been read up to some positions.

    Attributes:
        records: how many.
        position: the offset after the last.
        wait_for: where the touchpoints ended after the facts were read. The cause of a fact is before it, and so is
            everything that was known at that time.
        at: when they were read, by the loop's clock.
        raw: the records themselves.
    """

    batch: Batch
    records: int
    position: int
    wait_for: ReadPositions
    at: float
    raw: Sequence[Record] = ()

    @property
    def urgent(self) -> bool:
        """Whether one of them is about the present."""
        return any(event.urgent for event in self.batch.events)


@dataclass(slots=True)
class Partition:
    """A partition that this process owns and works on.

    Attributes:
        due_wait_for: where touchpoints and facts ended when actions were found due. They are decided once both were
            read up to there.
        failed: waiting action → when to decide it again, by the loop's clock, after it failed by itself.
    """

    lease: PartitionLease
    held: deque[WaitingFacts] = field(default_factory=deque)
    due_wait_for: tuple[ReadPositions, int] | None = None
    failed: dict[str, float] = field(default_factory=dict)

    @property
    def held_records(self) -> int:
        """Facts waiting for touchpoints."""
        return sum(facts.records for facts in self.held)

    def should_wait(self, now: float) -> bool:
        """Whether the held facts are all about the past, so that they may wait a moment for more of them."""
        return (
            bool(self.held)
            and now - self.held[0].at < _WAIT_SECONDS
            and self.held_records < _WAIT_RECORDS
            and not any(facts.urgent for facts in self.held)
        )

    def failed_actions(self, now: float) -> list[str]:
        """Waiting actions that failed a short time ago."""
        self.failed = {ident: until for ident, until in self.failed.items() if until > now}
        return list(self.failed)


@dataclass(frozen=True, slots=True)
class PartitionProcessor:
    """Makes the transactions. ``clock`` is read once a transaction; ``sending`` is the setting."""

    store: DecisionStore
    context: DecisionContext
    sending: bool
    clock: Callable[[], datetime]

    async def touchpoints(self, partition: Partition, records: Sequence[Record], position: int) -> None:
        """Fold touchpoints into profiles; ``position`` is the offset to read on at afterwards.

        A record that fails is found by halving, and becomes a dead letter.
        """

        async def fold(part: Sequence[Record]) -> None:
            batch = read_touchpoints(part)
            after = _after(part, records, position)
            async with self.store.fenced_transaction(partition.lease, next_touchpoint=after) as tx:
                await fold_touchpoints(tx, batch.touchpoints, self.context.decider.plays, self.clock())
                await tx.append_outbox(partition.lease.partition, batch.dead_letters)

        async def reject(record: Record, error: Exception) -> None:
            _log_rejected(record, error)
            after = _after([record], records, position)
            async with self.store.fenced_transaction(partition.lease, next_touchpoint=after) as tx:
                await tx.append_outbox(partition.lease.partition, [rejected(record, error)])

        await isolate(records, fold, reject)

    async def advance(self, partition: Partition, position: int) -> None:
        """Commit that touchpoints were read up to an offset, past transaction markers, which are no records."""
        async with self.store.fenced_transaction(partition.lease, next_touchpoint=position):
            pass

    async def facts(self, partition: Partition, ready: Sequence[WaitingFacts]) -> DecisionCounts:
        """Decide on facts. A record that fails is found by halving, and becomes a dead letter."""
        position = ready[-1].position
        events = [event for facts in ready for event in facts.batch.events]
        dead_letters = [letter for facts in ready for letter in facts.batch.dead_letters]
        try:
            return await self._facts(partition, events, dead_letters, position)
        except Exception as error:
            records = [record for facts in ready for record in facts.raw]
            if not is_content_fault(error) or not records:
                raise
            log.warning("facts_failed", partition=partition.lease.partition, records=len(records))
        counts = DecisionCounts([])

        async def decide(part: Sequence[Record]) -> None:
            batch = read_events(part)
            after = _after(part, records, position)
            counts.add(await self._facts(partition, batch.events, batch.dead_letters, after))

        async def reject(record: Record, error: Exception) -> None:
            _log_rejected(record, error)
            after = _after([record], records, position)
            async with self.store.fenced_transaction(partition.lease, next_fact=after) as tx:
                await tx.append_outbox(partition.lease.partition, [rejected(record, error)])

        await isolate(records, decide, reject)
        return counts

    async def _facts(
        self, partition: Partition, events: Sequence[StageEvent], dead_letters: Sequence[Outgoing], position: int
    ) -> DecisionCounts:
        number = partition.lease.partition
        with traced(self.context.tracing, events) as events:
            async with self.store.fenced_transaction(partition.lease, next_fact=position) as tx:
                now = await circumstances(tx, self.context, self.clock(), self.sending)
                counts = await apply_events(tx, events, self.context, number, now)
                await tx.append_outbox(number, dead_letters)
        return counts

    async def due(self, partition: Partition, loop_time: float) -> DecisionCounts:
        """Decide waiting actions whose time has come.

        An action that fails is found by halving. It goes on waiting, and is decided again some minutes later.
        """
        number = partition.lease.partition
        counts = DecisionCounts([])
        actions = self.store.actions
        due = await actions.due(
            number,
            self.clock(),
            _DUE_AT_ONCE,
            sending=self.sending and not await actions.sending_is_off(),
            leave_out=partition.failed_actions(loop_time),
        )

        async def decide(part: Sequence[tuple[str, str]]) -> None:
            async with self.store.fenced_transaction(partition.lease) as tx:
                now = await circumstances(tx, self.context, self.clock(), self.sending)
                counts.add(await decide_due(tx, part, self.context, number, now))

        async def leave(action: tuple[str, str], error: Exception) -> None:
            log.error(
                "waiting_action_failed",
                partition=number,
                action=action[1],
                retry_seconds=_FAILED_RETRY_SECONDS,
                exc_info=error,
            )
            partition.failed[action[1]] = loop_time + _FAILED_RETRY_SECONDS

        if due:
            await isolate(due, decide, leave)
        return counts


def _after(part: Sequence[Record], records: Sequence[Record], position: int) -> int:
    """The offset to read on at after a part of the records."""
    return position if part[-1] is records[-1] else part[-1].offset + 1


def _log_rejected(record: Record, error: Exception) -> None:
    log.error("record_rejected", partition=record.partition, topic=record.topic, offset=record.offset, exc_info=error)
