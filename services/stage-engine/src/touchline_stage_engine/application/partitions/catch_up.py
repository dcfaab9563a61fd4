"""How far every partition has caught up, over all processes: timers of customers with several keys wait for it.

A partition's *flushed* instant is the latest clock reading such that everything that was on its topics then has been
folded, and everything that resulted (labels of keys, transferred touchpoints) has been published to other partitions.
Each process stores it for its partitions about twice a second, and reads the least of all partitions. It is a statement
about the past that stays true, whichever process stores it, so it needs no fence.

A touchpoint of a customer may lie under a key that the customer's owner has not heard of: a key several links away, on
any partition. The owner that folds a touchpoint that links keys informs the owners of these keys, and they inform the
owners of the next keys. So messages caused by a touchpoint pass through several partitions, one after another, before
the last key's owner transfers its touchpoints. `CatchUp.settled` goes back through as many rounds, in each of which
every partition has folded and published everything that the round before had published.
"""

import asyncio
import time
from bisect import bisect_right
from collections.abc import Mapping
from operator import attrgetter
from typing import NamedTuple

import structlog

from touchline_stage_engine.application.errors import Interrupted
from touchline_stage_engine.application.ports import CatchUpTable

log = structlog.get_logger(__name__)

_EVERY = 0.5
_KEPT = 7200
"""Readings kept: an hour of them. Where partitions lag behind by more, timers of linked customers wait."""
ROUNDS = 5
"""Partitions that messages caused by one touchpoint pass through one after another, before all touchpoints that belong
to a customer have been transferred: for keys up to four links away that are linked by what was waiting."""


class _Snapshot(NamedTuple):
    """What was known at a clock reading: every partition had flushed up to `flushed` before it."""

    clock: int
    flushed: int


_CLOCK = attrgetter("clock")


class CatchUp:
    """One process's view of all partitions.

    Args:
        partitions: number of partitions of the topics. One that was never read allows no timer.
    """

    def __init__(self, table: CatchUpTable, partitions: int) -> None:
        self._table = table
        self._partitions = partitions
        self._flushed: dict[int, int] = {}
        self._written: dict[int, int] = {}
        self._snapshots: list[_Snapshot] = []

    def note(self, partition: int, flushed: int) -> None:
        """A partition of this process has folded and published everything up to this instant."""
        self._flushed[partition] = flushed

    def settled(self, own: int) -> int:
        """Up to when all touchpoints of customers with several keys are known to a partition; 0: unknown.

        Args:
            own: the partition has folded everything that was on its topics at this clock reading.
        """
        through = own
        for _ in range(ROUNDS):
            place = bisect_right(self._snapshots, through, key=_CLOCK)
            if not place:
                return 0
            through = min(through, self._snapshots[place - 1].flushed)
        return through

    async def run(self, stopping: asyncio.Event) -> None:
        """Write and read until stopping."""
        while not stopping.is_set():
            try:
                await self.exchange()
            except Interrupted as error:
                log.info("catch_up_unknown", error=str(error))
            try:
                async with asyncio.timeout(_EVERY):
                    await stopping.wait()
            except TimeoutError:
                pass

    async def exchange(self) -> None:
        """Write how far the partitions of this process are, and read how far all are."""
        news = {partition: at for partition, at in self._flushed.items() if at > self._written.get(partition, 0)}
        if news:
            await self._table.save(news)
            self._written |= news
        flushed: Mapping[int, int] = await self._table.load()
        least = min(flushed.get(partition, 0) for partition in range(self._partitions))
        self._snapshots.append(_Snapshot(time.time_ns() // 1000, least))
        if len(self._snapshots) > 2 * _KEPT:
            del self._snapshots[:_KEPT]


class Flush:
    """Follows up to when one partition has folded and published everything."""

    def __init__(self, catch_up: CatchUp, partition: int) -> None:
        self._catch_up = catch_up
        self._partition = partition
        self._waiting: tuple[int, int] | None = None
        """A caught-up instant, and the outbox id that must be published for everything up to it to be flushed."""

    def note(self, caught_up_at: int | None, last_outbox_id: int, published_through: int) -> None:
        """Report a flushed instant, when there is a new one.

        Args:
            caught_up_at: everything that was on the topics then, open transactions included, has been folded; None:
                not everything has been.
            last_outbox_id: the last record that a transaction has committed.
            published_through: the last record that is published.
        """
        if self._waiting is not None and published_through >= self._waiting[1]:
            self._catch_up.note(self._partition, self._waiting[0])
            self._waiting = None
        if self._waiting is None and caught_up_at is not None:
            self._waiting = caught_up_at, last_outbox_id
