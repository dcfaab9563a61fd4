"""Quiet hours and business days on the wall clock, over changes of the clock."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from touchline_notifier.core.limits.quiet_hours import (
    Business,
    Quiet,
    add_business_days,
    hindrance,
    next_allowed,
    zone_named,
)

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
WEEK = Business(frozenset(range(5)), frozenset())
NIGHT = Quiet(time(21), time(8))


def local(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("zone", "at", "opens"),
    [
        (BERLIN, "2026-03-03T20:59:59", "2026-03-03T20:59:59"),
        (BERLIN, "2026-03-03T21:00:00", "2026-03-04T08:00:00"),
        (BERLIN, "2026-03-04T07:59:59", "2026-03-04T08:00:00"),
        (BERLIN, "2026-03-04T08:00:00", "2026-03-04T08:00:00"),
        # The clock goes forward in these nights (2:00 → 3:00) …
        (BERLIN, "2026-03-28T22:00:00", "2026-03-29T08:00:00"),
        (NEW_YORK, "2026-03-07T22:00:00", "2026-03-08T08:00:00"),
        # … and back in those (3:00 → 2:00 in Berlin, 2:00 → 1:00 in New York).
        (BERLIN, "2026-10-24T22:00:00", "2026-10-25T08:00:00"),
        (NEW_YORK, "2026-10-31T22:00:00", "2026-11-01T08:00:00"),
    ],
)
def test_the_night_ends_at_eight_local_whatever_the_clock_did(zone: ZoneInfo, at: str, opens: str) -> None:
    assert next_allowed(local(at, zone), zone, NIGHT, None) == local(opens, zone)


@pytest.mark.parametrize(
    ("zone", "spring", "autumn"),
    [
        (BERLIN, "2026-03-28T21:00:00", "2026-10-24T21:00:00"),
        (NEW_YORK, "2026-03-07T21:00:00", "2026-10-31T21:00:00"),
    ],
)
def test_a_night_with_a_change_of_clock_lasts_ten_or_twelve_hours(zone: ZoneInfo, spring: str, autumn: str) -> None:
    for night, hours in ((spring, 10), (autumn, 12)):
        began = local(night, zone)
        assert next_allowed(began, zone, NIGHT, None) == began + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("zone", "evening", "jump"),
    [
        (BERLIN, "2026-03-28T23:00:00", "2026-03-29T03:00:00"),
        (NEW_YORK, "2026-03-07T23:00:00", "2026-03-08T03:00:00"),
    ],
)
def test_quiet_that_ends_in_the_hour_the_clock_skips_ends_when_the_clock_jumps(
    zone: ZoneInfo, evening: str, jump: str
) -> None:
    quiet = Quiet(time(22), time(2, 30))
    assert next_allowed(local(evening, zone), zone, quiet, None) == local(jump, zone)


@pytest.mark.parametrize(
    ("zone", "start", "end", "within", "over"),
    [
        (BERLIN, time(2, 15), time(2, 45), "2026-10-25T02:20:00", "2026-10-25T02:45:00"),
        (NEW_YORK, time(1, 15), time(1, 45), "2026-11-01T01:20:00", "2026-11-01T01:45:00"),
    ],
)
def test_quiet_within_the_hour_shown_twice_is_quiet_both_times(
    zone: ZoneInfo, start: time, end: time, within: str, over: str
) -> None:
    quiet = Quiet(start, end)
    first, second = local(within, zone), local(within, zone, fold=1)
    assert second - first == timedelta(hours=1)
    assert next_allowed(first, zone, quiet, None) == local(over, zone)
    assert next_allowed(second, zone, quiet, None) == local(over, zone, fold=1)


def test_weekends_and_holidays_wait_for_the_next_business_day() -> None:
    easter = Business(frozenset(range(5)), frozenset({date(2026, 4, 3), date(2026, 4, 6)}))
    opens = next_allowed(local("2026-04-03T10:00:00"), BERLIN, NIGHT, easter)
    assert opens == local("2026-04-07T08:00:00")


def test_days_that_never_come_are_said_to_never_come() -> None:
    year = Business(frozenset({0}), frozenset(date(2026, 1, 5) + timedelta(weeks=n) for n in range(120)))
    assert next_allowed(local("2026-03-03T10:00:00"), BERLIN, None, year) is None


def test_business_days_keep_the_local_time() -> None:
    friday = local("2026-03-27T16:30:00")
    assert add_business_days(friday, 2, BERLIN, WEEK) == local("2026-03-31T16:30:00")


def test_unknown_zones_are_none() -> None:
    assert zone_named("Europe/Berlin") == BERLIN
    assert zone_named("Mars/Olympus") is None
    assert zone_named("../../etc/passwd") is None
    assert zone_named("") is None
    for offset in ("UTC+15", "+99:00", "+05:60", "5", "GMT", "UTC"):
        assert (zone_named(offset) is None) is (offset not in ("GMT", "UTC"))


@pytest.mark.parametrize(
    ("name", "hours"),
    [
        ("GMT+0530", 5.5),
        ("UTC+05:30", 5.5),
        ("utc-3", -3),
        ("-03:30", -3.5),
        ("+14:00", 14),
        ("+0000", 0),
        ("asia/kolkata", 5.5),
        (" Asia/Kolkata ", 5.5),
        ("ASIA/KOLKATA", 5.5),
    ],
)
def test_offsets_and_other_spellings_of_a_name_are_zones(name: str, hours: float) -> None:
    zone = zone_named(name)
    assert zone is not None
    assert datetime(2026, 3, 1, tzinfo=UTC).astimezone(zone).utcoffset() == timedelta(hours=hours)
    night = Quiet(time(21), time(8))
    at = datetime(2026, 3, 1, 23, 30, tzinfo=zone)
    opens = next_allowed(at, zone, night, None)
    assert opens == datetime(2026, 3, 2, 8, tzinfo=zone)


minutes = st.integers(0, 24 * 60 - 1).map(lambda n: time(n // 60, n % 60))
places = st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Cairo"])


@settings(max_examples=150, deadline=None)
@given(
    day=st.dates(date(2026, 1, 1), date(2026, 12, 31)), at=minutes, start=minutes, end=minutes, zone=places,
    business=st.booleans(),
)  # fmt: skip
def test_the_next_allowed_minute_is_what_asking_every_minute_finds(
    day: date, at: time, start: time, end: time, zone: str, business: bool
) -> None:
    where = ZoneInfo(zone)
    quiet = Quiet(start, end) if start != end else None
    days = WEEK if business else None
    begin = datetime.combine(day, at, tzinfo=where).astimezone(UTC)
    found = next_allowed(begin, where, quiet, days)
    asked = begin
    while hindrance(asked, where, quiet, days) is not None:
        asked += timedelta(minutes=1)
    assert found == asked
