"""How far touchpoints have to be read before a fact is decided on.

A fact waits for its own partition's touchpoints, because its cause is there. Where plays write to customers it waits
for those of all partitions, because a customer who unsubscribes by an address alone is filed under the address, on
another partition than the customer, until the engine has linked the two. How far other processes have read theirs is
in the database. A partition that makes no progress for ``WAIT_SECONDS`` is not waited for any longer: the check of the
suppressions just before the send has to do (:mod:`touchline_notifier.application.delivering.pre_send_check`).
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

import structlog
from touchline_runtime.process.repeated_faults import FaultLog

from touchline_notifier.application.ports import DecisionStore
from touchline_notifier.application.session_ports import RecordConsumer

log = structlog.get_logger(__name__)

ReadPositions: TypeAlias = Mapping[int, int]
"""Partition → the offset up to which its touchpoints have to be read."""

WAIT_SECONDS = 30.0


class TouchpointPositions:
    """Says which positions facts have to wait for, and when they are reached.

    Args:
        partitions: of the touchpoints topic.
        everywhere: every fact waits for all partitions, not for its own alone.
    """

    def __init__(self, consumer: RecordConsumer, store: DecisionStore, *, partitions: int, everywhere: bool) -> None:
        self._consumer = consumer
        self._store = store
        self._partitions = partitions
        self.everywhere = everywhere
        self._elsewhere: Mapping[int, int] = {}
        self._moved_at = 0.0
        self._faults = FaultLog(log, "other_partitions_not_waited_for")

    async def ends(self, partitions: Iterable[int]) -> dict[int, ReadPositions]:
        """For facts of these partitions that were just read: where the touchpoints end now."""
        wanted = list(partitions)
        ends = await self._consumer.end_offsets("touchpoints", range(self._partitions) if self.everywhere else wanted)
        return {number: ends if self.everywhere else {number: ends[number]} for number in wanted}

    async def reached(self, positions: ReadPositions, own: Collection[int]) -> bool:
        """Whether the touchpoints have been read that far. Call it when everything fetched has been folded.

        Args:
            own: the partitions that this process reads itself.
        """
        for number in positions.keys() & own:
            if await self._consumer.position("touchpoints", number) < positions[number]:
                return False
        elsewhere = positions.keys() - own
        return not elsewhere or await self._reached_elsewhere({number: positions[number] for number in elsewhere})

    async def _reached_elsewhere(self, positions: ReadPositions) -> bool:
        current = await self._store.next_touchpoints()
        now = asyncio.get_running_loop().time()
        behind = [number for number, offset in positions.items() if current.get(number, 0) < offset]
        if not behind or current != self._elsewhere:
            self._elsewhere, self._moved_at = current, now
        if behind and now - self._moved_at > WAIT_SECONDS:
            why = "another process does not read them, or is far behind"
            self._faults.failed(why, reason=str(sorted(behind)), partitions=sorted(behind), seconds=WAIT_SECONDS)
            return True
        if not behind:
            self._faults.over()
        return not behind
