"""Counts by the hour as an even row of numbers. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from touchline_console.core import formats

HOURS = 24


def by_hour(hours: Iterable[Mapping[str, Any]], what: str, now: datetime) -> list[int]:
    """The count of each of the last 24 hours, this one included; 0 where nothing was counted."""
    current = now.replace(minute=0, second=0, microsecond=0)
    counts = {formats.instant(hour["begins"]): int(hour[what]) for hour in hours}
    return [counts.get(current - timedelta(hours=back), 0) for back in range(HOURS - 1, -1, -1)]
