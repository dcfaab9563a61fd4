"""Keeps the members of all audiences on one partition as the filters say.

What may have to change is found beside the folding, by reads over a shared pool. Only customers who differ are
evaluated again, in a fenced transaction of the partition's owner between two batches, which records and publishes the
change. So nothing that was read before an erasure, a merge or another owner is written after it.

Customers are evaluated when they were folded, when a span of a filter has ended for them, and all of them, in pieces,
when an audience or a lifecycle was changed, when the partition has a new owner, and once an hour.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

import structlog

from touchline_stage_engine import metrics as declared
from touchline_stage_engine.application.audiences.changes import Applied, apply_filter, clear_deleted
from touchline_stage_engine.application.audiences.ports import AudienceCandidates
from touchline_stage_engine.application.audiences.standing_work import AudienceWork, overdue
from touchline_stage_engine.application.audiences.values import Progress
from touchline_stage_engine.application.batches.batch import Batch
from touchline_stage_engine.application.errors import Interrupted, PermanentFaultError
from touchline_stage_engine.application.partitions.context import WorkerContext, clock
from touchline_stage_engine.application.partitions.writer import PartitionWriter
from touchline_stage_engine.application.ports import PartitionTables
from touchline_stage_engine.core.audiences.audience import Audience

log = structlog.get_logger(__name__)

READ_AT_ONCE = 1000
"""Customers in one read."""
WRITTEN_AT_ONCE = 300
"""Members in one transaction."""
MOST_PASSED = 5000
"""Customers for whom a span has ended beyond which every customer is evaluated instead."""
SWEEP_SECONDS = 1.0
"""How long one audience is swept before changed customers get their turn."""
REST_FACTOR = 2.0
"""After a read, rest as many times as long."""
_LONGEST_REST = 1.0
PASSED_FACTOR = 30.0
"""Look for ended spans at intervals that are this many times as long as a look takes."""
_PAUSE_SECONDS = 60.0
"""After a fault of one audience."""
_BUSY_SECONDS = 0.05


class _Request(NamedTuple):
    """Something to write: ``fold`` runs inside the fenced transaction of ``batch``."""

    fold: Callable[[PartitionTables, Batch], Awaitable[Applied]]
    done: asyncio.Future[Applied]


class AudienceEvaluation:
    """One partition's audiences under one lease: `run` beside the folding, `step` between two batches."""

    def __init__(self, context: WorkerContext, writer: PartitionWriter, candidates: AudienceCandidates) -> None:
        self._context = context
        self._writer = writer
        self._candidates = candidates
        self._partition = writer.partition
        self._work: dict[int, AudienceWork] = {}
        self._progress: dict[int, Progress] | None = None
        self._changed: set[str] = set()
        self._requests: deque[_Request] = deque()
        self._settled = 0
        self._revision = context.definitions.revision

    @property
    def pending(self) -> bool:
        """Whether `step` has something to write."""
        return bool(self._requests)

    def note(self, customers: Iterable[str]) -> None:
        """These customers were folded and committed."""
        if self._context.audiences.audiences:
            self._changed.update(customers)

    async def run(self) -> None:
        """Evaluate until cancelled."""
        busy = False
        while True:
            await asyncio.sleep(_BUSY_SECONDS if busy else self._context.settings.audience_seconds)
            busy = False
            try:
                busy = await self.evaluate()
            except Interrupted as error:
                log.info("audiences_not_evaluated", partition=self._partition, error=str(error))
                await asyncio.sleep(_LONGEST_REST)
            except Exception:
                log.exception("audience_evaluation_failed", partition=self._partition)
                await asyncio.sleep(_PAUSE_SECONDS)

    async def evaluate(self) -> bool:
        """One round over all audiences: changed customers first, then a part of each sweep.

        Returns:
            Whether a sweep goes on.
        """
        if not self._context.audiences.audiences:
            self._work.clear()
            self._changed.clear()
            self._progress = None
            return False
        await self._take_audiences()
        self._note_settled()
        changed, self._changed = self._changed, set()
        busy = False
        clearing = {work.audience.name for work in self._work.values() if work.audience.deleted}
        for work in self._work.values():
            work.note(changed)
            await asyncio.sleep(0)
        for work in list(self._work.values()):
            if time.monotonic() < work.paused_until:
                continue
            work.paused_until = 0.0
            try:
                if work.audience.deleted:
                    busy |= await self._clear(work)
                elif work.audience.name not in clearing:
                    # The next incarnation of a name begins when all members of the one before have left.
                    busy |= await self._evaluate(work)
            except Exception as error:
                work.want_sweep()
                if isinstance(error, Interrupted) and not isinstance(error, PermanentFaultError):
                    raise
                work.paused_until = time.monotonic() + _PAUSE_SECONDS
                log.exception("audience_failed", partition=self._partition, audience=work.audience.name)
        return busy

    async def _take_audiences(self) -> None:
        audiences = self._context.audiences.audiences
        if self._progress is None:
            self._progress = await self._candidates.progress(self._partition)
        work, self._work = self._work, {}
        for audience in audiences:
            known = work.get(audience.id)
            if known is None:
                known = AudienceWork(audience, self._progress.get(audience.id, Progress()))
            known.take(audience)
            self._work[audience.id] = known
        revision = self._context.definitions.revision
        if revision != self._revision:
            self._revision = revision
            for known in self._work.values():
                known.want_sweep()

    def _note_settled(self) -> None:
        """Spans end at the instant through which everything is folded, as timers of linked customers do.

        A backlog anywhere would otherwise let customers enter who were active meanwhile.
        """
        consumer, partition = self._context.consumer, self._partition
        caught_up_at = consumer.caught_up_at(partition)
        if caught_up_at is not None and consumer.has_all_messages(partition):
            self._settled = max(self._settled, self._context.catch_up.settled(caught_up_at))

    def _instant(self, work: AudienceWork) -> int:
        """The instant that the audience's spans end at; 0: it is not known yet."""
        if not work.audience.filter.depends_on_time:
            return clock()
        return self._settled and max(self._settled, work.through)

    async def _evaluate(self, work: AudienceWork) -> bool:
        instant = self._instant(work)
        if not instant:
            return False
        audience = work.audience._replace(filter=work.audience.filter.at(instant))
        await self._note_passed(work, instant)
        for _ in range(len(work.changed) // READ_AT_ONCE + 1):
            since = work.next_changed(READ_AT_ONCE)
            if since:
                await self._compare(work, audience, since)
        if work.sweeping:
            await self._sweep(work, audience)
        return work.sweeping

    async def _note_passed(self, work: AudienceWork, instant: int) -> None:
        """Evaluate the customers for whom a span of the filter has ended."""
        began, since = time.monotonic(), work.passed_through
        if not work.audience.filter.depends_on_time or since is None or began < work.look_for_passed_at:
            return
        found = await self._candidates.passed(self._partition, work.audience, since, instant, MOST_PASSED)
        work.passed_through = instant
        work.look_for_passed_at = time.monotonic() + PASSED_FACTOR * (time.monotonic() - began)
        if len(found) >= MOST_PASSED:
            work.want_sweep()
        else:
            work.note(found)

    async def _sweep(self, work: AudienceWork, audience: Audience) -> None:
        """Evaluate the next customers of all, for a limited time."""
        until = time.monotonic() + SWEEP_SECONDS
        while time.monotonic() < until:
            after = work.begin_sweep(audience.filter.now)
            customers = await self._candidates.customers_after(self._partition, after, READ_AT_ONCE)
            if not customers:
                if not work.evaluated:
                    await self._request(_mark_evaluated(audience))
                work.end_sweep()
                log.info("audience_evaluated", partition=self._partition, audience=audience.name)
                return
            await self._compare(work, audience, dict.fromkeys(customers, time.monotonic()))
            work.sweep_after = customers[-1]

    async def _compare(self, work: AudienceWork, audience: Audience, since: dict[str, float]) -> None:
        """Find those of some customers who differ from what is recorded, and have them written."""
        began = time.monotonic()
        standings = await self._candidates.standings(self._partition, audience, list(since))
        took = time.monotonic() - began
        self._context.metrics.histogram(declared.AUDIENCE_READ_SECONDS).observe(took)
        late = overdue(since)
        work.wait_on(
            (one.customer_id for one in standings if not one.summarised and one.customer_id not in late), since
        )
        differing = [
            one.customer_id for one in standings if one.differs and (one.summarised or one.customer_id in late)
        ]
        for start in range(0, len(differing), WRITTEN_AT_ONCE):
            part = differing[start : start + WRITTEN_AT_ONCE]
            done = await self._request(_apply(audience, part, work.evaluated, late))
            work.through = max(work.through, audience.filter.now)
            work.wait_on(done.waiting, since)
        await asyncio.sleep(min(_LONGEST_REST, REST_FACTOR * took))

    async def _clear(self, work: AudienceWork) -> bool:
        """Let the members of a deleted audience leave, for a limited time; whether there are more."""
        until = time.monotonic() + SWEEP_SECONDS
        more = True
        while more and time.monotonic() < until:
            done = await self._request(_clear(work.audience))
            more = done.more
        if not more:
            log.info("audience_cleared", partition=self._partition, audience=work.audience.name)
            # Until the list of audiences is read again.
            work.paused_until = time.monotonic() + _LONGEST_REST
        return more

    async def _request(self, fold: Callable[[PartitionTables, Batch], Awaitable[Applied]]) -> Applied:
        done: asyncio.Future[Applied] = asyncio.get_running_loop().create_future()
        self._requests.append(_Request(fold, done))
        applied = await done
        for change, number in (("entered", applied.entered), ("left", applied.left)):
            if number:
                self._context.metrics.counter(declared.AUDIENCE_CHANGES).labels(change).inc(number)
        return applied

    async def step(self) -> None:
        """Write what was found next, if anything was.

        Raises:
            Interrupted: see application/errors.py.
        """
        if not self._requests:
            return
        fold, done = self._requests.popleft()
        if done.cancelled():
            return
        writer, applied = self._writer, Applied()
        batch = writer.new_batch()

        async def write(tables: PartitionTables) -> None:
            nonlocal applied
            applied = await fold(tables, batch)

        try:
            await writer.commit(batch, write)
        except (Interrupted, MemoryError):
            raise
        except Exception as error:
            writer.reset()
            if not done.cancelled():
                done.set_exception(error)
            return
        if not done.cancelled():
            done.set_result(applied)


def _apply(
    audience: Audience, customers: Sequence[str], evaluated: bool, late: set[str]
) -> Callable[[PartitionTables, Batch], Awaitable[Applied]]:
    async def fold(tables: PartitionTables, batch: Batch) -> Applied:
        return await apply_filter(
            tables, batch.builder, batch.changes.outbox, audience, customers, clock(), evaluated=evaluated, overdue=late
        )

    return fold


def _clear(audience: Audience) -> Callable[[PartitionTables, Batch], Awaitable[Applied]]:
    async def fold(tables: PartitionTables, batch: Batch) -> Applied:
        return await clear_deleted(tables, batch.builder, batch.changes.outbox, audience, clock(), WRITTEN_AT_ONCE)

    return fold


def _mark_evaluated(audience: Audience) -> Callable[[PartitionTables, Batch], Awaitable[Applied]]:
    async def fold(tables: PartitionTables, _: Batch) -> Applied:
        await tables.audiences.mark_evaluated(audience.id, audience.version)
        return Applied()

    return fold
