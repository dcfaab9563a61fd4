"""When something may be sent: quiet hours, business days and holidays, in local time.

Windows are written in local time and judged by what the wall clock shows, so they follow daylight saving: a night's
quiet ends at 08:00 local whether the night had 23, 24 or 25 hours. An hour that the clock skips is never quiet; one
that it shows twice is quiet both times.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, available_timezones

from touchline_notifier.core.decisions.hold_reasons import ClockCode

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HORIZON_DAYS = 400
_OFFSET = re.compile(r"(?:GMT|UTC)?([+-])(\d{1,2})(?::?(\d\d))?", re.ASCII | re.IGNORECASE).fullmatch
_FARTHEST_HOURS = 14
"""Of any local time from UTC: Kiribati's."""


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


@lru_cache(maxsize=2048)
def zone_named(name: str) -> tzinfo | None:
    """The zone of an IANA name, in any case, or of an offset (``GMT+0530``, ``UTC+2``, ``-03:00``); None if neither.

    RudderStack's library for browsers says the offset alone.
    """
    found = _OFFSET(name.strip())
    if found is not None:
        hours, minutes = int(found[2]), int(found[3] or 0)
        if hours > _FARTHEST_HOURS or minutes > 59:
            return None
        offset = timedelta(hours=hours, minutes=minutes)
        return timezone(-offset if found[1] == "-" else offset)
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        spelt = _zones().get(name.strip().lower())
        return ZoneInfo(spelt) if spelt is not None else None


@cache
def _zones() -> Mapping[str, str]:
    """IANA name by the same in lower case."""
    return {name.lower(): name for name in sorted(available_timezones())}


def hindrance(at: datetime, zone: tzinfo, quiet: Quiet | None, business: Business | None) -> ClockCode | None:
    """Which limit forbids sending at an instant, or None."""
    local = at.astimezone(zone)
    if quiet is not None and quiet.covers(local.time()):
        return "quiet_hours"
    if business is not None and not business.covers(local.date()):
        return "not_a_business_day"
    return None


def next_allowed(at: datetime, zone: tzinfo, quiet: Quiet | None, business: Business | None) -> datetime | None:
    """The first instant from ``at`` on (UTC) at which sending is allowed; None if there is none in over a year."""
    if hindrance(at, zone, quiet, business) is None:
        return at
    for candidate in _openings(at, zone, quiet):
        if candidate > at and hindrance(candidate, zone, quiet, business) is None:
            return candidate
    return None


def _openings(at: datetime, zone: tzinfo, quiet: Quiet | None) -> Iterator[datetime]:
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


def _instants(day: date, at: time, zone: tzinfo) -> Iterator[datetime]:
    """When the wall clock shows a time on a day: once, twice, or never."""
    for fold in (0, 1):
        local = datetime.combine(day, at, tzinfo=zone).replace(fold=fold)
        instant = local.astimezone(UTC)
        if instant.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
            yield instant


def _clock_change(day: date, zone: tzinfo) -> datetime | None:
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


def add_business_days(at: datetime, days: int, zone: tzinfo, business: Business) -> datetime:
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
