"""Customers by stage at the end of each day, from the moves of each day."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

DAY = 86_400_000_000
"""Microseconds."""


class Shift(NamedTuple):
    """Customers who went from one stage (None: from outside) to another on a day (days since the epoch, UTC)."""

    day: int
    from_stage: str | None
    to_stage: str
    customers: int


def by_day(shifts: Iterable[Shift], stages: Sequence[str], first: int, last: int) -> dict[str, list[int]]:
    """Stage → customers at the end of each day from ``first`` to ``last``; earlier shifts count towards ``first``."""
    days = last - first + 1
    changes = {stage: [0] * days for stage in stages}
    for day, source, target, customers in shifts:
        if day > last:
            continue
        index = max(day - first, 0)
        if source in changes:
            changes[source][index] -= customers
        if target in changes:
            changes[target][index] += customers
    for values in changes.values():
        for index in range(1, days):
            values[index] += values[index - 1]
    return changes
