"""Bringing customers up to date: in order where nothing is late, by folding history again where something is."""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import asyncpg

from touchline_stage_engine.adapters import statements, store
from touchline_stage_engine.adapters.changes import read_touchpoint
from touchline_stage_engine.adapters.customers import Customer
from touchline_stage_engine.adapters.decoding import Arrival
from touchline_stage_engine.adapters.folding import END, START, Folding, Landmark, Past, Refold
from touchline_stage_engine.core.publication import Cause
from touchline_stage_engine.core.touchpoint import Order, Touchpoint

_ORDER = attrgetter("occurred_at", "id", "source")
MANY = 100
"""Customers whose history is read in one query."""


@dataclass(slots=True)
class Work:
    """What a batch brings for one customer.

    Attributes:
        arrivals: new touchpoints, those that aliases forward too; in any order.
        merged: the past of keys that have just become this customer's.
        restored: what takes the place of touchpoints that an alias had handed over and that are withdrawn.
        replaced: stored contents that a smaller one has taken the place of.
        from_scratch: fold everything again, because of this.
        fired_through: the clock had fired the timers of merged keys up to here.
    """

    customer: Customer
    arrivals: list[Arrival]
    merged: list[Arrival] = field(default_factory=list)
    restored: list[Arrival] = field(default_factory=list)
    replaced: list[Touchpoint] = field(default_factory=list)
    from_scratch: Cause | None = None
    fired_through: int = 0


@dataclass(slots=True)
class _Refolding:
    """A customer whose history has to be read.

    Attributes:
        since: the first place in the order where something is new.
        last_new: the last such place; None: after everything, or nobody knows.
        through: how far to read.
        late: how many touchpoints are new.
        then: touchpoints that follow in order.
        past: set where the definitions have changed.
        without: (source, id) of what is to be left out.
    """

    customer: Customer
    cause: Cause
    places: list[int]
    since: Order
    last_new: Order | None
    through: Order
    fired_through: int
    late: int
    then: list[Touchpoint]
    backfill: bool
    past: Past | None = None
    without: frozenset[tuple[str, str]] = frozenset()


async def refold_all(
    connection: asyncpg.Connection, folding: Folding, works: Sequence[Work], now: int, caught_up_at: int | None
) -> None:
    """Fold what each customer was brought. The touchpoints must be in the table already.

    Args:
        now: the clock.
        caught_up_at: where customers are folded again under new definitions, timers fire up to here.
    """
    # Who was folded under other definitions is brought up to date first: what is new to them is news all the same.
    outdated = [_outdated(work, Past(now, False)) for work in works if _is_outdated_alone(work)]
    await _refold_in_groups(connection, folding, outdated)
    past = Past(now, False) if caught_up_at is None else Past(caught_up_at, True)
    waiting = []
    for place, work in enumerate(works):
        if place % store.BREATH == 0:
            await asyncio.sleep(0)
        if (refolding := await _plan(connection, folding, work, past)) is not None:
            waiting.append(refolding)
    await _refold_in_groups(connection, folding, waiting, twice={one.customer.customer_id for one in outdated})


async def _refold_in_groups(
    connection: asyncpg.Connection, folding: Folding, waiting: Sequence[_Refolding], twice: Collection[str] = ()
) -> None:
    for begin in range(0, len(waiting), MANY):
        await _refold_many(connection, folding, waiting[begin : begin + MANY], twice)


def _is_outdated_alone(work: Work) -> bool:
    """Whether definitions have changed, and what is stored is what was folded, with something new beside it."""
    changed = work.replaced or work.from_scratch
    return work.customer.stale and not changed and bool(work.arrivals or work.merged)


def _outdated(work: Work, past: Past) -> _Refolding:
    customer = work.customer
    return _Refolding(
        customer, "definition", list(range(len(customer.states))), START, None, customer.last or START,
        customer.fired_through, 0, [], backfill=True, past=past,
        without=frozenset((one.touchpoint.source, one.touchpoint.id) for one in (*work.arrivals, *work.merged)),
    )  # fmt: skip


async def _plan(connection: asyncpg.Connection, folding: Folding, work: Work, past: Past) -> _Refolding | None:
    """Fold a customer in order, or say what has to be read to fold it again."""
    customer = work.customer
    touchpoints = [arrival.touchpoint for arrival in (*work.arrivals, *work.merged, *work.restored)]
    if len(touchpoints) > 1:
        touchpoints.sort(key=_ORDER)
    if customer.merged_into is not None:
        # An alias keeps its touchpoints and has no stage of its own.
        _see(customer, touchpoints)
        customer.touchpoints += len(touchpoints)
        return None
    if customer.stale or work.from_scratch or work.replaced:
        customer.touchpoints += len(touchpoints)
        _see(customer, touchpoints)
        return await _from_scratch(connection, folding, work, past)
    first = next((one for one in touchpoints if not one.machine), None)
    if first is None or not (work.merged or folding.is_late(customer, first)):
        customer.fired_through = max(customer.fired_through, work.fired_through)
        folding.advance(customer, touchpoints)
        customer.touchpoints += len(touchpoints)
        return None
    return _late(folding, work, touchpoints, first)


def _late(folding: Folding, work: Work, touchpoints: list[Touchpoint], first: Touchpoint) -> _Refolding:
    customer = work.customer
    bound = customer.last or START
    if work.merged:
        merged = [arrival.touchpoint.order for arrival in work.merged if not arrival.touchpoint.machine]
        bound = max([bound, *merged])
    fired = max(customer.fired_through, work.fired_through)
    late = [one for one in touchpoints if one.order <= bound or one.occurred_at <= fired]
    then = touchpoints[len(late) :]
    counting = [one for one in late if not one.machine]
    if customer.last is None or first.order < customer.last or work.merged:
        places = list(range(len(folding.folds)))
    else:
        # In order, but a timer had fired: fold again only where it had.
        places = []
        for place, fold in enumerate(folding.folds):
            if fold.is_late(customer.states[place], first):
                places.append(place)
            else:
                folding.advance_one(customer, place, counting)
    customer.touchpoints += len(late)
    _see(customer, late)
    if counting:
        customer.last = max(bound, counting[-1].order)
    folding.changes.counts["late"] += len(late) - len(work.merged)
    return _Refolding(
        customer,
        "merge" if work.merged else "late_touchpoint",
        places,
        first.order,
        late[-1].order,
        customer.last or bound,
        fired,
        len(late),
        then,
        all(one.backfill for one in late),
    )


async def _from_scratch(connection: asyncpg.Connection, folding: Folding, work: Work, past: Past) -> _Refolding:
    customer = work.customer
    cause: Cause = "definition" if customer.stale else work.from_scratch or "late_touchpoint"
    row = await connection.fetchrow(statements.LAST_TOUCHPOINT, customer.customer_id)
    customer.last = None if row is None else (row["occurred_at"], row["id"], row["source"])
    fired = max(customer.fired_through, work.fired_through)
    places, through = list(range(len(folding.folds))), customer.last or START
    # What was due long ago under a new definition is told with it, as the past.
    told = past if cause == "definition" else None
    return _Refolding(
        customer, cause, places, START, None, through, fired, 0, [], backfill=cause == "definition", past=told
    )


async def _refold_many(
    connection: asyncpg.Connection, folding: Folding, group: Sequence[_Refolding], twice: Collection[str]
) -> None:
    checkpoints = await _checkpoints(connection, [one for one in group if one.since != START])
    landmarks = await _landmarks(connection, [one for one in group if one.last_new is not None])
    asked: list[tuple[_Refolding, Refold, Order]] = []
    for one in group:
        customer_id = one.customer.customer_id
        refold = Refold(
            folding, one.customer, one.places, one.cause, checkpoints.get(customer_id),
            ahead=landmarks.get(customer_id, ()), backfill=one.backfill,
        )  # fmt: skip
        asked.append((one, refold, refold.next_landmark or one.through))
    read = await _read_many(connection, asked)
    for one, refold, end in asked:
        customer_id = one.customer.customer_id
        if customer_id in twice and refold.replaces_checkpoints is not None:
            folding.changes.drop_checkpoints(customer_id)
        await _read_on(connection, folding, one, refold, end, read.get(customer_id, []))
        if customer_id in twice:
            folding.changes.cut_history(refold.cuts)
    await _forget(connection, [refold for _, refold, _ in asked])
    for one, refold, _ in asked:
        refold.finish(one.fired_through, one.past)
        if refold.met is not None:
            one.customer.checkpointed += one.late
        if one.then:
            folding.advance(one.customer, one.then)
            one.customer.touchpoints += len(one.then)


async def _read_on(
    connection: asyncpg.Connection, folding: Folding, one: _Refolding, refold: Refold, end: Order, rows: Sequence[Any]
) -> None:
    """Fold what the first reading brought, and read on until history is as it was, or ends."""
    counts = folding.changes.counts
    counts["read_again"] += len(rows)
    if refold.feed([read_touchpoint(row) for row in rows if (row["source"], row["id"]) not in one.without]):
        return
    if len(rows) == store.CHUNK:
        end = (rows[-1]["occurred_at"], rows[-1]["id"], rows[-1]["source"])
    elif end == one.through:
        return
    following = store.touchpoints_between(connection, one.customer.customer_id, end, one.through)
    async with aclosing(following):
        async for touchpoints in following:
            counts["read_again"] += len(touchpoints)
            if refold.feed([each for each in touchpoints if (each.source, each.id) not in one.without]):
                return
            await asyncio.sleep(0)


async def _forget(connection: asyncpg.Connection, refolds: Sequence[Refold]) -> None:
    """Take out of history, and of the checkpoints, what has been folded again."""
    cuts = [cut for refold in refolds for cut in refold.cuts]
    await connection.execute(
        statements.CUT_HISTORY,
        [customer_id for customer_id, _, _, _ in cuts],
        [lifecycle for _, lifecycle, _, _ in cuts],
        [kept for _, _, kept, _ in cuts],
        [through for _, _, _, through in cuts],
    )
    gone = [span for refold in refolds if (span := refold.replaces_checkpoints) is not None]
    if gone:
        await connection.execute(
            statements.DELETE_CHECKPOINTS_BETWEEN,
            [customer_id for customer_id, _, _ in gone],
            [after[0] for _, after, _ in gone],
            [after[1] for _, after, _ in gone],
            [after[2] for _, after, _ in gone],
            [(before or END)[0] for _, _, before in gone],
            [(before or END)[1] for _, _, before in gone],
            [(before or END)[2] for _, _, before in gone],
        )


async def _checkpoints(connection: asyncpg.Connection, late: Sequence[_Refolding]) -> dict[str, Any]:
    # Most customers never had one.
    asked = [one for one in late if one.customer.checkpointed]
    if not asked:
        return {}
    rows = await connection.fetch(
        statements.CHECKPOINTS_BEFORE,
        [one.customer.customer_id for one in asked],
        [one.since[0] for one in asked],
        [one.since[1] for one in asked],
        [one.since[2] for one in asked],
    )
    return {row["customer_id"]: row for row in rows}


async def _landmarks(connection: asyncpg.Connection, late: Sequence[_Refolding]) -> dict[str, list[Landmark]]:
    """Each customer's checkpoints from the last new touchpoint on."""
    asked = [(one.customer.customer_id, one.last_new) for one in late if one.customer.checkpointed and one.last_new]
    if not asked:
        return {}
    rows = await connection.fetch(
        statements.CHECKPOINTS_AFTER,
        [customer_id for customer_id, _ in asked],
        [place[0] for _, place in asked],
        [place[1] for _, place in asked],
        [place[2] for _, place in asked],
    )
    found: dict[str, list[Landmark]] = {}
    for row in rows:
        landmark = Landmark((row["occurred_at"], row["id"], row["source"]), row["digest"])
        found.setdefault(row["customer_id"], []).append(landmark)
    return found


async def _read_many(
    connection: asyncpg.Connection, asked: Sequence[tuple[_Refolding, Refold, Order]]
) -> dict[str, list[Any]]:
    rows = await connection.fetch(
        statements.TOUCHPOINTS_BETWEEN_OF_MANY,
        [one.customer.customer_id for one, _, _ in asked],
        [refold.begin[0] for _, refold, _ in asked],
        [refold.begin[1] for _, refold, _ in asked],
        [refold.begin[2] for _, refold, _ in asked],
        [end[0] for _, _, end in asked],
        [end[1] for _, _, end in asked],
        [end[2] for _, _, end in asked],
        store.CHUNK,
    )
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row["customer_id"], []).append(row)
    return found


def _see(customer: Customer, touchpoints: Sequence[Touchpoint]) -> None:
    seen = max((one.occurred_at for one in touchpoints), default=None)
    if seen is not None and (customer.seen_at is None or seen > customer.seen_at):
        customer.seen_at = seen
