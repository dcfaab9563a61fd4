"""When something may be sent: quiet hours, business days and holidays, in local time.

Windows are written in local time and judged by what the wall clock shows, so they follow daylight saving: a night's
quiet ends at 08:00 local whether the night had 23, 24 or 25 hours. An hour that the clock skips is never quiet; one
that it shows twice is quiet both times.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from touchline_notifier.core.decisions.hold_reasons import ClockCode

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HORIZON_DAYS = 400


@dataclass(frozen=True, slots=True)
class Quiet:
    """From one local time to another, over midnight when ``start`` is the later one; ``end`` itself is not quiet."""

    start: time
    end: time

    def covers(self, at: time) -> bool:
        """Whether a local time is within."""
        if self.start < self.end:
            return self.start <= at < self.end
        return at >= self.start or at < self.end


@dataclass(frozen=True, slots=True)
class Business:
    """Days on which something may be sent: weekdays (0 is Monday) that are not holidays."""

    weekdays: frozenset[int]
    holidays: frozenset[date]

    def covers(self, day: date) -> bool:
        """Whether a local day is one of them."""
        return day.weekday() in self.weekdays and day not in self.holidays


def zone_named(name: str) -> ZoneInfo | None:
    """The zone of an IANA name, or None when there is no such zone."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def hindrance(at: datetime, zone: ZoneInfo, quiet: Quiet | None, business: Business | None) -> ClockCode | None:
    """Which limit forbids sending at an instant, or None."""
    local = at.astimezone(zone)
    if quiet is not None and quiet.covers(local.time()):
        return "quiet_hours"
    if business is not None and not business.covers(local.date()):
        return "not_a_business_day"
    return None


def next_allowed(at: datetime, zone: ZoneInfo, quiet: Quiet | None, business: Business | None) -> datetime | None:
    """The first instant from ``at`` on (UTC) at which sending is allowed; None if there is none in over a year."""
    if hindrance(at, zone, quiet, business) is None:
        return at
    for candidate in _openings(at, zone, quiet):
        if candidate > at and hindrance(candidate, zone, quiet, business) is None:
            return candidate
    return None


def _openings(at: datetime, zone: ZoneInfo, quiet: Quiet | None) -> Iterator[datetime]:
    """Instants at which a hindrance can end, in order day by day: midnights, ends of quiet, changes of the clock."""
    first = at.astimezone(zone).date()
    for offset in range(_HORIZON_DAYS):
        day = first + timedelta(days=offset)
        instants = set(_instants(day, time(0), zone))
        if quiet is not None:
            instants.update(_instants(day, quiet.end, zone))
        change = _clock_change(day, zone)
        if change is not None:
            instants.add(change)
        yield from sorted(instants)


def _instants(day: date, at: time, zone: ZoneInfo) -> Iterator[datetime]:
    """When the wall clock shows a time on a day: once, twice, or never."""
    for fold in (0, 1):
        local = datetime.combine(day, at, tzinfo=zone).replace(fold=fold)
        instant = local.astimezone(UTC)
        if instant.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
            yield instant


def _clock_change(day: date, zone: ZoneInfo) -> datetime | None:
    """The instant at which the clock is put forward or back on a day, to the second."""
    low = datetime.combine(day, time(0), tzinfo=zone).astimezone(UTC)
    high = datetime.combine(day + timedelta(days=1), time(0), tzinfo=zone).astimezone(UTC)
    before = low.astimezone(zone).utcoffset()
    if before == high.astimezone(zone).utcoffset():
        return None
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high


def add_business_days(at: datetime, days: int, zone: ZoneInfo, business: Business) -> datetime:
    """The same local time that many business days later."""
    local = at.astimezone(zone)
    day = local.date()
    remaining = days
    for _ in range(_HORIZON_DAYS + 7 * days):
        if remaining == 0:
            break
        day += timedelta(days=1)
        if business.covers(day):
            remaining -= 1
    return datetime.combine(day, local.time(), tzinfo=zone).astimezone(UTC)
