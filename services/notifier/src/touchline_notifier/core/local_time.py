"""When something may be sent: quiet hours, business days and holidays, on the wall clock of a place.

Windows are written in local time and judged by what the wall clock shows, so they follow daylight saving: a night's
quiet ends at 08:00 local whether the night had 23, 24 or 25 hours. An hour that the clock skips is never quiet; one
that it shows twice is quiet both times.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from touchline_notifier.core.reasons import ClockCode

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HORIZON_DAYS = 400


@dataclass(frozen=True, slots=True)
class Quiet:
    """From one local time to another, over midnight when ``start`` is the later one; ``end`` itself is not quiet."""

    start: time
    end: time

    def covers(self, at: time) -> bool:
        """Whether the wall clock's reading is within."""
        if self.start < self.end:
            return self.start <= at < self.end
        return at >= self.start or at < self.end


@dataclass(frozen=True, slots=True)
class Business:
    """Days on which something may be sent: weekdays (0 is Monday) that are no holidays."""

    weekdays: frozenset[int]
    holidays: frozenset[date]

    def covers(self, day: date) -> bool:
        """Whether a local day is one of them."""
        return day.weekday() in self.weekdays and day not in self.holidays


def zone(name: str) -> ZoneInfo | None:
    """The zone of an IANA name, or None when there is no such zone."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def hindrance(at: datetime, place: ZoneInfo, quiet: Quiet | None, business: Business | None) -> ClockCode | None:
    """Which limit forbids sending at an instant, or None."""
    local = at.astimezone(place)
    if quiet is not None and quiet.covers(local.time()):
        return "quiet_hours"
    if business is not None and not business.covers(local.date()):
        return "not_a_business_day"
    return None


def next_allowed(at: datetime, place: ZoneInfo, quiet: Quiet | None, business: Business | None) -> datetime | None:
    """The first instant from ``at`` on (UTC) at which nothing hinders; None if there is none in over a year."""
    if hindrance(at, place, quiet, business) is None:
        return at
    for candidate in _openings(at, place, quiet):
        if candidate > at and hindrance(candidate, place, quiet, business) is None:
            return candidate
    return None


def _openings(at: datetime, place: ZoneInfo, quiet: Quiet | None) -> Iterator[datetime]:
    """Instants at which a hindrance can end, in order day by day: midnights, ends of quiet, changes of the clock."""
    first = at.astimezone(place).date()
    for offset in range(_HORIZON_DAYS):
        day = first + timedelta(days=offset)
        instants = set(_instants(day, time(0), place))
        if quiet is not None:
            instants.update(_instants(day, quiet.end, place))
        change = _clock_change(day, place)
        if change is not None:
            instants.add(change)
        yield from sorted(instants)


def _instants(day: date, at: time, place: ZoneInfo) -> Iterator[datetime]:
    """When the wall clock shows a time on a day: once, twice, or never."""
    for fold in (0, 1):
        local = datetime.combine(day, at, tzinfo=place).replace(fold=fold)
        instant = local.astimezone(UTC)
        if instant.astimezone(place).replace(tzinfo=None) == local.replace(tzinfo=None):
            yield instant


def _clock_change(day: date, place: ZoneInfo) -> datetime | None:
    """The instant at which the clock is put forward or back on a day, to the second."""
    low = datetime.combine(day, time(0), tzinfo=place).astimezone(UTC)
    high = datetime.combine(day + timedelta(days=1), time(0), tzinfo=place).astimezone(UTC)
    before = low.astimezone(place).utcoffset()
    if before == high.astimezone(place).utcoffset():
        return None
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
        if middle.astimezone(place).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high


def add_business_days(at: datetime, days: int, place: ZoneInfo, business: Business) -> datetime:
    """The same local time that many business days later."""
    local = at.astimezone(place)
    day = local.date()
    remaining = days
    for _ in range(_HORIZON_DAYS + 7 * days):
        if remaining == 0:
            break
        day += timedelta(days=1)
        if business.covers(day):
            remaining -= 1
    return datetime.combine(day, local.time(), tzinfo=place).astimezone(UTC)
