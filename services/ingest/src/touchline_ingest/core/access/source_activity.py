"""What sources posted lately: counts by the hour for a day, reasons of rejections, and the last events as posted.

Kept in this process's memory: another process of the same deployment has its own, and a restart begins at zero. Pure:
time is an argument.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

HOURS = 24
MOST_EVENTS = 50
"""Of accepted and of rejected ones, each, for a source."""
MOST_OF_REQUEST = 5
MOST_BYTES = 4096
MOST_REASONS = 40
OTHER = "other reasons"
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Event:
    """One posted item: what became of it, and the beginning of what was posted."""

    at: datetime
    door: str
    status: str
    id: str | None
    error: str | None
    posted: bytes
    truncated: bool


@dataclass(slots=True)
class Hour:
    """What was posted in one hour."""

    begins: datetime
    accepted: int = 0
    rejected: int = 0
    unacknowledged: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


class SourceActivity:
    """The activity of one source."""

    def __init__(self) -> None:
        self.last_at: datetime | None = None
        self.last_rejected_at: datetime | None = None
        self._hours: deque[Hour] = deque(maxlen=HOURS + 1)
        self._accepted: deque[Event] = deque(maxlen=MOST_EVENTS)
        self._rejected: deque[Event] = deque(maxlen=MOST_EVENTS)

    def count(self, now: datetime, accepted: int, rejected: int, unacknowledged: int) -> Hour:
        """Count one request's items; the hour they fall into."""
        hour = self._hour(now)
        hour.accepted += accepted
        hour.rejected += rejected
        hour.unacknowledged += unacknowledged
        if accepted:
            self.last_at = now
        if rejected:
            self.last_rejected_at = now
        return hour

    def accepted(self, now: datetime, door: str, posted: Sequence[tuple[str, bytes]]) -> None:
        """Keep the last of a request's accepted items: (id, bytes)."""
        for id_, content in posted[-MOST_OF_REQUEST:]:
            self._accepted.append(_event(now, door, "accepted", id_, None, content))

    def count_errors(self, now: datetime, errors: Counter[str]) -> None:
        """Count the errors of a request's rejected items, by their reason."""
        reasons = self._hour(now).reasons
        for error, number in errors.most_common(MOST_REASONS):
            reason = reason_of(error)
            reasons[reason if reason in reasons or len(reasons) < MOST_REASONS else OTHER] += number
        rest = sum(errors.values()) - sum(number for _, number in errors.most_common(MOST_REASONS))
        if rest:
            reasons[OTHER] += rest

    def rejected(self, now: datetime, door: str, id_: str | None, error: str, posted: bytes) -> None:
        """Keep one rejected item."""
        self._rejected.append(_event(now, door, "rejected", id_, error, posted))

    def hours(self, now: datetime) -> list[Hour]:
        """The hours of the last day in which something was posted, the earliest first."""
        least = now - timedelta(hours=HOURS)
        return [hour for hour in self._hours if hour.begins + _HOUR > least]

    def reasons(self, now: datetime) -> list[tuple[str, int]]:
        """Reasons of the last day's rejections with their number, the most frequent first."""
        total: Counter[str] = Counter()
        for hour in self.hours(now):
            total += hour.reasons
        return total.most_common()

    def events(self, now: datetime, status: str | None = None) -> list[Event]:
        """The last items, the newest first; none is kept for longer than a day."""
        least = now - timedelta(hours=HOURS)
        for kept in (self._accepted, self._rejected):
            while kept and kept[0].at < least:
                kept.popleft()
        chosen = [*self._accepted] if status != "rejected" else []
        if status != "accepted":
            chosen += self._rejected
        return sorted(chosen, key=lambda event: event.at, reverse=True)

    def _hour(self, now: datetime) -> Hour:
        begins = now.replace(minute=0, second=0, microsecond=0)
        if not self._hours or self._hours[-1].begins != begins:
            self._hours.append(Hour(begins))
        return self._hours[-1]


def reason_of(error: str) -> str:
    """A rejection's reason without what differs from item to item: values in quotes, and numbers of positions."""
    text, inside = [], False
    for character in error[:300]:
        if character in "'\"":
            inside = not inside
            if not inside:
                text.append("…")
        elif not inside:
            text.append(character)
    words = "".join(text).split(";")[0].strip()
    return " ".join("n" if word.strip(".,:[]()").isdigit() else word for word in words.split())[:160] or "no reason"


def _event(now: datetime, door: str, status: str, id_: str | None, error: str | None, posted: bytes) -> Event:
    return Event(now, door, status, id_, error, posted[:MOST_BYTES], len(posted) > MOST_BYTES)
