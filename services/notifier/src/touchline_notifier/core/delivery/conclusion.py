"""What follows an attempt: for the delivery, and for what is known of its endpoint."""

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from touchline_notifier.core.channel import Attempt, Delivered, EndpointGone, GaveUp, Retry
from touchline_notifier.core.delivery.breaker import POLICY, Breaker, Policy
from touchline_notifier.core.delivery.schedule import GiveUp, TryAt, after_failure
from touchline_notifier.core.reasons import HoldCode


@dataclass(frozen=True, slots=True)
class Sent:
    """It arrived."""

    status: int | None


@dataclass(frozen=True, slots=True)
class Rescheduled:
    """It is tried again at a moment."""

    moment: datetime
    why: str
    status: int | None


@dataclass(frozen=True, slots=True)
class Failed:
    """It is over, and an operator may replay it."""

    why: str
    status: int | None


@dataclass(frozen=True, slots=True)
class Expired:
    """It waited too long before its first attempt, and is not wanted any more."""

    why: str


@dataclass(frozen=True, slots=True)
class Withheld:
    """It was due, and somebody has said no since it was decided."""

    code: HoldCode
    why: str


Conclusion: TypeAlias = Sent | Rescheduled | Failed | Expired | Withheld


def conclude(attempt: Attempt, attempts: int, now: datetime, randomness: float) -> Conclusion:
    """What follows for the delivery.

    Args:
        attempts: made so far, this one included.
        randomness: uniform in [0, 1), for the jitter.
    """
    match attempt:
        case Delivered(status):
            return Sent(status)
        case GaveUp(why, status) | EndpointGone(why, status):
            return Failed(why, status)
        case Retry(why, after, status):
            match after_failure(attempts, now, randomness, retry_after=after):
                case TryAt(moment):
                    return Rescheduled(moment, why, status)
                case GiveUp(made):
                    return Failed(f"gave up after {made} attempts; the last: {why}", status)


def learn(breaker: Breaker, attempt: Attempt, now: datetime, policy: Policy = POLICY) -> Breaker:
    """What follows for the endpoint's breaker."""
    match attempt:
        # What is refused for its own sake was refused by an endpoint that is well.
        case Delivered() | GaveUp():
            return breaker.succeeded()
        case EndpointGone(why):
            return breaker.gone(why)
        case Retry(why, after, _, True):
            return breaker.throttled(now, why, after, policy)
        case Retry(why):
            return breaker.failed(now, why, policy)
