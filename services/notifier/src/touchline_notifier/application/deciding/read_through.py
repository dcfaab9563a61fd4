"""Up to which instant everything published has been read, noted in the database about once a second.

What was decided long ago is sent only when that instant is recent: after an outage, what customers said and did
meanwhile is read first (:mod:`touchline_notifier.application.delivering.limits_before_send`).
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NamedTuple

from touchline_notifier.application.deciding.partition import Partition
from touchline_notifier.application.ports import DecisionStore
from touchline_notifier.application.session_ports import RecordConsumer

_NOTE_SECONDS = 1.0


class Mark(NamedTuple):
    """Where a partition's topics ended at an instant."""

    at: datetime
    touchpoints: int
    facts: int


class ReadThrough:
    """Looks where the topics end, and notes the instant when the session has read up to there."""

    def __init__(self, consumer: RecordConsumer, store: DecisionStore, clock: Callable[[], datetime]) -> None:
        self._consumer = consumer
        self._store = store
        self._clock = clock
        self._marks: dict[int, Mark] = {}
        self._note_again = 0.0

    async def note(self, partitions: Mapping[int, Partition], now: float) -> None:
        """Note what was reached. Call it when everything fetched has been worked on.

        Args:
            now: the loop's clock.
        """
        if now < self._note_again or not partitions:
            return
        self._note_again = now + _NOTE_SECONDS
        self._marks = {number: mark for number, mark in self._marks.items() if number in partitions}
        reached = []
        for number, mark in list(self._marks.items()):
            partition = partitions[number]
            facts = partition.lease.next_fact if partition.held else await self._consumer.position("facts", number)
            if await self._consumer.position("touchpoints", number) >= mark.touchpoints and facts >= mark.facts:
                reached.append((number, partition.lease.epoch, mark.at))
                del self._marks[number]
        if reached:
            await self._store.save_read_through(reached)
        unmarked = [number for number in partitions if number not in self._marks]
        if unmarked:
            at = self._clock()
            touchpoints = await self._consumer.end_offsets("touchpoints", unmarked)
            ends = await self._consumer.end_offsets("facts", unmarked)
            for number in unmarked:
                self._marks[number] = Mark(at, touchpoints[number], ends[number])
