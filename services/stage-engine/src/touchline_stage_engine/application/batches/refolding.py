"""Brings customers up to date: in order where nothing is late, by folding history again where something is."""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from operator import attrgetter

from touchline_stage_engine.application.batches.changes import YIELD_EVERY
from touchline_stage_engine.application.batches.customers import Customer
from touchline_stage_engine.application.batches.folding import (
    START,
    Checkpoint,
    CheckpointStates,
    DefinitionStart,
    Folding,
)
from touchline_stage_engine.application.batches.refold import Refold
from touchline_stage_engine.application.ports import PartitionTables
from touchline_stage_engine.application.values import READ_AT_ONCE, HistoryCut, TouchpointRange
from touchline_stage_engine.core.decoding import Arrival
from touchline_stage_engine.core.folding.corrections import Cause
from touchline_stage_engine.core.touchpoint import Order, Touchpoint

_ORDER = attrgetter("occurred_at", "id", "source")
_CUSTOMERS_AT_ONCE = 100
"""Customers whose history is read in one query."""


@dataclass(slots=True)
class Work:
    """What a batch adds to one customer.

    Attributes:
        arrivals: new touchpoints in any order, including later ones of aliases.
        merged: the history of keys that have just become this customer's.
        restored: copies that replace touchpoints an alias had transferred and that are withdrawn.
        replaced: stored contents that a smaller content replaces.
        from_scratch: fold everything again, for this cause.
    """

    customer: Customer
    arrivals: list[Arrival]
    merged: list[Arrival] = field(default_factory=list)
    restored: list[Arrival] = field(default_factory=list)
    replaced: list[Touchpoint] = field(default_factory=list)
    from_scratch: Cause | None = None


@dataclass(slots=True)
class _Plan:
    """How to fold a customer's history again.

    Attributes:
        lifecycles: indexes of the lifecycles to fold again.
        since: the first place in the order where something is new.
        last_new: the last such place; None: unknown, or after everything.
        through: how far to read.
        late: how many touchpoints are new.
        then: touchpoints that follow in order.
        started: set where the definitions have changed.
        without: (source, id) of what is to be left out.
    """

    customer: Customer
    cause: Cause
    lifecycles: list[int]
    since: Order
    last_new: Order | None
    through: Order
    late: int
    then: list[Touchpoint]
    backfill: bool
    started: DefinitionStart | None = None
    without: frozenset[tuple[str, str]] = frozenset()


async def refold_all(
    tables: PartitionTables, folding: Folding, works: Sequence[Work], now: int, caught_up_at: int | None
) -> None:
    """Fold what a batch adds to each customer. The new touchpoints must be in the table already.

    Args:
        now: the clock, in microseconds.
        caught_up_at: where customers are folded again under new definitions, timers fire up to here.
    """
    # Customers that were folded under other definitions are brought up to date first, so that what is new to them is
    # published as new facts.
    outdated = [_plan_outdated(work, DefinitionStart(now, False)) for work in works if _is_outdated_alone(work)]
    await _refold_in_groups(tables, folding, outdated)
    unknown = DefinitionStart(now, False)
    started = unknown if caught_up_at is None else DefinitionStart(caught_up_at, True)
    waiting = []
    for index, work in enumerate(works):
        if index % YIELD_EVERY == 0:
            await asyncio.sleep(0)
        # More may come from other partitions for a linked customer: the timers fire when those have caught up.
        known = started if work.customer.identity is None else unknown
        if (plan := await _fold_or_plan(tables, folding, work, known)) is not None:
            waiting.append(plan)
    await _refold_in_groups(tables, folding, waiting, twice={plan.customer.customer_id for plan in outdated})


async def _refold_in_groups(
    tables: PartitionTables, folding: Folding, waiting: Sequence[_Plan], twice: Collection[str] = ()
) -> None:
    for begin in range(0, len(waiting), _CUSTOMERS_AT_ONCE):
        await _refold_many(tables, folding, waiting[begin : begin + _CUSTOMERS_AT_ONCE], twice)


def _is_outdated_alone(work: Work) -> bool:
    """Whether definitions have changed, and new touchpoints came, and the stored ones are those that were folded."""
    changed = work.replaced or work.from_scratch
    return bool(work.customer.stale and not changed and (work.arrivals or work.merged))


def _plan_outdated(work: Work, started: DefinitionStart) -> _Plan:
    customer = work.customer
    return _Plan(
        customer, "definition", list(customer.stale), START, None, customer.last or START,
        0, [], backfill=True, started=started,
        without=frozenset(
            (arrival.touchpoint.source, arrival.touchpoint.id) for arrival in (*work.arrivals, *work.merged)
        ),
    )  # fmt: skip


async def _fold_or_plan(
    tables: PartitionTables, folding: Folding, work: Work, started: DefinitionStart
) -> _Plan | None:
    """Fold a customer in order; where that is not possible, what has to be read to fold it again."""
    customer = work.customer
    touchpoints = [arrival.touchpoint for arrival in (*work.arrivals, *work.merged, *work.restored)]
    if len(touchpoints) > 1:
        touchpoints.sort(key=_ORDER)
    if customer.merged_into is not None:
        # An alias keeps its touchpoints and has no stage of its own.
        _note_seen(customer, touchpoints)
        customer.touchpoints += len(touchpoints)
        return None
    if customer.stale or work.from_scratch or work.replaced:
        customer.touchpoints += len(touchpoints)
        _note_seen(customer, touchpoints)
        return await _plan_from_scratch(tables, folding, work, started)
    first = next((touchpoint for touchpoint in touchpoints if not touchpoint.machine), None)
    # A machine's touchpoints change nothing, also when another key has brought them.
    joined = any(not arrival.touchpoint.machine for arrival in work.merged)
    if first is None or not (joined or folding.is_late(customer, first)):
        folding.advance(customer, touchpoints)
        customer.touchpoints += len(touchpoints)
        return None
    return _plan_late(folding, work, touchpoints, first)


def _plan_late(folding: Folding, work: Work, touchpoints: list[Touchpoint], first: Touchpoint) -> _Plan:
    customer = work.customer
    bound = customer.last or START
    if work.merged:
        merged = [arrival.touchpoint.order for arrival in work.merged if not arrival.touchpoint.machine]
        bound = max([bound, *merged])
    fired = customer.fired_through
    late = [touchpoint for touchpoint in touchpoints if touchpoint.order <= bound or touchpoint.occurred_at <= fired]
    then = touchpoints[len(late) :]
    counting = [touchpoint for touchpoint in late if not touchpoint.machine]
    if customer.last is None or first.order < customer.last or work.merged:
        lifecycles = list(range(len(folding.folds)))
    else:
        # In order, but after a timer that had fired: fold again only in the lifecycles where one had.
        lifecycles = []
        for index, fold in enumerate(folding.folds):
            if fold.is_late(customer.states[index], first):
                lifecycles.append(index)
            else:
                folding.advance_one(customer, index, counting)
    customer.touchpoints += len(late)
    _note_seen(customer, late)
    if counting:
        customer.last = max(bound, counting[-1].order)
    merged_here = {id(arrival.touchpoint) for arrival in work.merged}
    folding.changes.counts["late"] += sum(id(touchpoint) not in merged_here for touchpoint in late)
    return _Plan(
        customer,
        "merge" if work.merged else "late_touchpoint",
        lifecycles,
        first.order,
        late[-1].order,
        customer.last or bound,
        len(late),
        then,
        all(touchpoint.backfill for touchpoint in late),
    )


async def _plan_from_scratch(tables: PartitionTables, folding: Folding, work: Work, started: DefinitionStart) -> _Plan:
    customer = work.customer
    cause: Cause = "definition" if customer.stale else work.from_scratch or "late_touchpoint"
    customer.last = await tables.touchpoints.last_order(customer.customer_id)
    changed = work.from_scratch or work.replaced or work.arrivals or work.merged or work.restored
    lifecycles = list(range(len(folding.folds))) if changed or not customer.stale else list(customer.stale)
    through = customer.last or START
    # What was due long ago under a new definition is published with it, as backfill.
    at_start = started if cause == "definition" else None
    backfill = cause == "definition"
    return _Plan(customer, cause, lifecycles, START, None, through, 0, [], backfill=backfill, started=at_start)


async def _refold_many(
    tables: PartitionTables, folding: Folding, group: Sequence[_Plan], twice: Collection[str]
) -> None:
    saved = await _checkpoints_before(tables, group)
    ahead = await _checkpoints_after(tables, group)
    refolds: list[tuple[_Plan, Refold, Order]] = []
    for plan in group:
        customer_id = plan.customer.customer_id
        refold = Refold(
            folding, plan.customer, plan.lifecycles, plan.cause, saved.get(customer_id),
            ahead=ahead.get(customer_id, ()), backfill=plan.backfill,
        )  # fmt: skip
        refolds.append((plan, refold, refold.next_checkpoint or plan.through))
    read = await tables.touchpoints.first_of(
        [TouchpointRange(plan.customer.customer_id, refold.begin, end) for plan, refold, end in refolds]
    )
    for plan, refold, end in refolds:
        customer_id = plan.customer.customer_id
        if customer_id in twice and refold.replaced_checkpoints is not None:
            folding.changes.drop_checkpoints(customer_id)
        await _read_on(tables, folding, plan, refold, end, read.get(customer_id, []))
        if customer_id in twice:
            folding.changes.cut_history(refold.cuts)
    # Where definitions have changed, or are folded by again, most facts come out as they are stored.
    compared = [cut for plan, refold, _ in refolds if plan.cause == "definition" for cut in refold.cuts]
    await tables.history.cut([cut for plan, refold, _ in refolds if plan.cause != "definition" for cut in refold.cuts])
    await tables.history.delete_checkpoints(
        [span for _, refold, _ in refolds if (span := refold.replaced_checkpoints) is not None]
    )
    collected = len(folding.changes.history)
    for plan, refold, _ in refolds:
        refold.finish(plan.started)
        if refold.joined_at is not None:
            plan.customer.checkpointed += plan.late
        if plan.then:
            folding.advance(plan.customer, plan.then)
            plan.customer.touchpoints += len(plan.then)
    if compared:
        await _write_differences(tables, folding, compared, collected)


async def _write_differences(
    tables: PartitionTables, folding: Folding, cuts: Sequence[HistoryCut], collected: int
) -> None:
    """Keep the stored facts that equal what was collected, and delete the others of these stretches.

    Args:
        collected: how many facts had been collected before those of the stretches.
    """
    stored, history = await tables.history.stored(cuts), folding.changes.history
    equal = {row[:3] for row in history[collected:] if stored.get((row[0], row[1], row[2])) == row}
    history[collected:] = [row for row in history[collected:] if row[:3] not in equal]
    await tables.history.delete([fact for fact in stored if fact not in equal])


async def _read_on(
    tables: PartitionTables,
    folding: Folding,
    plan: _Plan,
    refold: Refold,
    end: Order,
    first: Sequence[Touchpoint],
) -> None:
    """Fold what the first read brought, and read on until the rest of history is unchanged, or ends."""
    counts = folding.changes.counts
    counts["read_again"] += len(first)
    if refold.feed(_without(first, plan.without)):
        return
    if len(first) == READ_AT_ONCE:
        end = first[-1].order
    elif end == plan.through:
        return
    following = tables.touchpoints.between(TouchpointRange(plan.customer.customer_id, end, plan.through))
    async with aclosing(following):
        async for touchpoints in following:
            counts["read_again"] += len(touchpoints)
            if refold.feed(_without(touchpoints, plan.without)):
                return
            await asyncio.sleep(0)


def _without(touchpoints: Sequence[Touchpoint], left_out: Collection[tuple[str, str]]) -> Sequence[Touchpoint]:
    if not left_out:
        return touchpoints
    return [touchpoint for touchpoint in touchpoints if (touchpoint.source, touchpoint.id) not in left_out]


async def _checkpoints_before(tables: PartitionTables, group: Sequence[_Plan]) -> dict[str, CheckpointStates]:
    """Each customer's last checkpoint before what is new. Most customers never had one."""
    return await tables.history.checkpoints_before(
        [
            (plan.customer.customer_id, plan.since)
            for plan in group
            if plan.since != START and plan.customer.checkpointed
        ]
    )


async def _checkpoints_after(tables: PartitionTables, group: Sequence[_Plan]) -> dict[str, list[Checkpoint]]:
    """Each customer's checkpoints after the last new touchpoint."""
    return await tables.history.checkpoints_after(
        [
            (plan.customer.customer_id, plan.last_new)
            for plan in group
            if plan.last_new is not None and plan.customer.checkpointed
        ]
    )


def _note_seen(customer: Customer, touchpoints: Sequence[Touchpoint]) -> None:
    seen = max((touchpoint.occurred_at for touchpoint in touchpoints), default=None)
    if seen is not None and (customer.seen_at is None or seen > customer.seen_at):
        customer.seen_at = seen
