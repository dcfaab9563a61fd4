"""When to try again: the Standard Webhooks schedule, with jitter, and what a receiver asks for by ``Retry-After``."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

SCHEDULE: tuple[timedelta, ...] = (
    timedelta(0),
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""The delay before each attempt, counted from the attempt before: ten attempts over a little more than three days."""

JITTER = 0.2
"""A delay is lengthened by up to this share, so that deliveries that failed together are not retried together."""

LONGEST_WAIT = timedelta(hours=24)
"""The longest ``Retry-After`` that is respected."""


@dataclass(frozen=True, slots=True)
class TryAt:
    """Another attempt is due."""

    moment: datetime


@dataclass(frozen=True, slots=True)
class OutOfAttempts:
    """Every attempt of the schedule has failed."""

    attempts: int


def after_failure(
    attempts: int,
    now: datetime,
    randomness: float,
    *,
    retry_after: timedelta | None = None,
    schedule: tuple[timedelta, ...] = SCHEDULE,
) -> TryAt | OutOfAttempts:
    """What follows a failed attempt.

    Args:
        attempts: attempts made so far, the failed one included (1 or more).
        randomness: uniform in [0, 1), drawn by the caller.
        retry_after: what the receiver asked for. It lengthens the delay and never shortens it.
    """
    if attempts >= len(schedule):
        return OutOfAttempts(attempts)
    delay = schedule[attempts] * (1 + JITTER * randomness)
    if retry_after is not None:
        delay = max(delay, min(retry_after, LONGEST_WAIT))
    return TryAt(now + delay)


def parse_retry_after(value: str | None, now: datetime) -> timedelta | None:
    """Read ``Retry-After`` (RFC 9110 §10.2.3): seconds, or an HTTP date. None when absent, past or unreadable."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        # Cut before making a timedelta: an absurd number would overflow it.
        return timedelta(seconds=min(int(text[:12]), LONGEST_WAIT.total_seconds()))
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:  # "-0000": UTC by RFC 5322
            moment = moment.replace(tzinfo=UTC)
        wait = moment - now
    except (ValueError, OverflowError, TypeError):
        return None
    return min(wait, LONGEST_WAIT) if wait > timedelta(0) else None
