"""The months before, told at once; then the last days, each system at its own door. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby

from touchline_devstack.demo.people import Deed, Mistake

Told = Deed | Mistake
RECENT = timedelta(days=3)
"""How long before the present the company began to post as things happen; what was before, it imports."""

SLICE = timedelta(hours=8)


@dataclass
class Phases:
    """What is imported, and what the systems posted since; both in order of arrival."""

    history: list[Told] = field(default_factory=list)
    recent: list[Told] = field(default_factory=list)

    def slices(self) -> Iterator[dict[str, list[Told]]]:
        """The recent ones, some hours at a time, by source: sources post side by side, but none runs ahead of them."""

        def slice_of(one: Told) -> int:
            return int(one.arrives.timestamp() // SLICE.total_seconds())

        for _, told in groupby(self.recent, slice_of):
            by_source: dict[str, list[Told]] = {}
            for one in told:
                by_source.setdefault(one.source, []).append(one)
            yield by_source


def divide(deliveries: Iterable[Told], now: datetime) -> Phases:
    """Divide by arrival; what is told twice is told twice by the same system, or it would be two touchpoints."""
    phases = Phases()
    imported: set[tuple[str, str]] = set()
    for one in deliveries:
        if isinstance(one, Mistake):
            (phases.history if one.arrives < now - RECENT else phases.recent).append(one)
        elif one.arrives < now - RECENT or (one.repeated and (one.source, one.id) in imported):
            imported.add((one.source, one.id))
            phases.history.append(one)
        else:
            phases.recent.append(one)
    return phases
