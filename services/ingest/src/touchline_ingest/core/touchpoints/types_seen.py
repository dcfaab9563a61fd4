"""Which touchpoint types each source has posted.

The set of types is open, so that ``signd_up`` is accepted; it is listed here, and warned about
(:mod:`touchline_schemas.near_misses`).
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

MOST_TYPES = 10_000


@dataclass(slots=True)
class SeenType:
    """One type of one source.

    Attributes:
        count: touchpoints accepted since the process started.
        first_at, last_at: when the first and the last of them were received.
    """

    source: str
    type: str
    count: int
    first_at: datetime
    last_at: datetime


class TypesSeen:
    """The types seen by this process.

    Args:
        most: types remembered; beyond it the one that was not seen the longest is forgotten.
    """

    def __init__(self, most: int = MOST_TYPES) -> None:
        self._most = most
        self._seen: OrderedDict[tuple[str, str], SeenType] = OrderedDict()

    def note(self, source: str, types: Iterable[tuple[str, int]], now: datetime) -> list[str]:
        """Count accepted touchpoints by type. Returns the types that are new from this source."""
        new = []
        for type_name, count in types:
            key = (source, type_name)
            seen = self._seen.get(key)
            if seen is None:
                self._seen[key] = SeenType(source, type_name, count, now, now)
                new.append(type_name)
                if len(self._seen) > self._most:
                    self._seen.popitem(last=False)
            else:
                seen.count += count
                seen.last_at = now
                self._seen.move_to_end(key)
        return new

    def page(
        self, *, source: str | None = None, after: tuple[str, str] | None = None, limit: int = 100
    ) -> list[SeenType]:
        """Types by source and name, those after a place, at most so many."""
        chosen = (key for key in self._seen if source is None or key[0] == source)
        keys = sorted(key for key in chosen if after is None or key > after)
        return [self._seen[key] for key in keys[:limit]]
