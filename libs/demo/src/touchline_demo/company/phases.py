"""Divide the company's events into history, which is imported, and recent days, which each system posts itself."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby

from touchline_demo.company.people import Event, InvalidEvent

Item = Event | InvalidEvent
RECENT = timedelta(days=3)
"""How long before the present the company began to post as things happen; what was before, it imports."""

SLICE = timedelta(hours=8)


@dataclass
class Phases:
    """What is imported, and what the systems posted since; both in order of arrival."""

    history: list[Item] = field(default_factory=list)
    recent: list[Item] = field(default_factory=list)

    def slices(self) -> Iterator[dict[str, list[Item]]]:
        """The recent ones, some hours at a time, by source: sources post side by side, but none runs ahead of them."""

        def slice_of(one: Item) -> int:
            return int(one.arrives.timestamp() // SLICE.total_seconds())

        for _, items in groupby(self.recent, slice_of):
            by_source: dict[str, list[Item]] = {}
            for one in items:
                by_source.setdefault(one.source, []).append(one)
            yield by_source


def divide(deliveries: Iterable[Item], now: datetime) -> Phases:
    """Divide by arrival. A repetition stays with its system; from another it would be a new touchpoint."""
    phases = Phases()
    imported: set[tuple[str, str]] = set()
    for one in deliveries:
        if isinstance(one, InvalidEvent):
            (phases.history if one.arrives < now - RECENT else phases.recent).append(one)
        elif one.arrives < now - RECENT or (one.repeated and (one.source, one.id) in imported):
            imported.add((one.source, one.id))
            phases.history.append(one)
        else:
            phases.recent.append(one)
    return phases
