"""Retries: the schedule, its jitter, and what a receiver asks for."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_notifier.core.delivery.schedule import (
    JITTER,
    LONGEST_WAIT,
    SCHEDULE,
    OutOfAttempts,
    TryAt,
    after_failure,
    parse_retry_after,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_the_schedule_is_that_of_standard_webhooks() -> None:
    seconds = [delay.total_seconds() for delay in SCHEDULE]
    assert seconds == [0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]


@given(attempts=st.integers(1, len(SCHEDULE) - 1), randomness=st.floats(0, 1, exclude_max=True))
def test_the_next_attempt_is_never_early_and_late_by_the_jitter_at_most(attempts: int, randomness: float) -> None:
    decided = after_failure(attempts, NOW, randomness)
    assert isinstance(decided, TryAt)
    delay = SCHEDULE[attempts]
    assert delay <= decided.moment - NOW <= delay * (1 + JITTER)


def test_two_that_failed_together_come_back_apart() -> None:
    assert after_failure(2, NOW, 0.1) != after_failure(2, NOW, 0.9)


def test_after_the_last_attempt_it_gives_up() -> None:
    assert after_failure(len(SCHEDULE), NOW, 0.5) == OutOfAttempts(len(SCHEDULE))


def test_retry_after_lengthens_a_wait_never_shortens_it_and_has_a_limit() -> None:
    assert after_failure(1, NOW, 0.0, retry_after=timedelta(seconds=90)) == TryAt(NOW + timedelta(seconds=90))
    assert after_failure(3, NOW, 0.0, retry_after=timedelta(seconds=1)) == TryAt(NOW + timedelta(minutes=30))
    assert after_failure(1, NOW, 0.0, retry_after=timedelta(days=900)) == TryAt(NOW + LONGEST_WAIT)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120", timedelta(seconds=120)),
        (" 7 ", timedelta(seconds=7)),
        (format_datetime(NOW + timedelta(minutes=3), usegmt=True), timedelta(minutes=3)),
        ("Sun, 01 Mar 2026 12:00:30 -0000", timedelta(seconds=30)),
        (format_datetime(NOW - timedelta(minutes=3), usegmt=True), None),
        ("99999999999999999999999999", LONGEST_WAIT),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("²", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(value: str | None, expected: timedelta | None) -> None:
    assert parse_retry_after(value, NOW) == expected


@given(st.text(max_size=40))
def test_no_retry_after_can_break_the_reader(value: str) -> None:
    wait = parse_retry_after(value, NOW)
    assert wait is None or timedelta(0) <= wait <= LONGEST_WAIT
