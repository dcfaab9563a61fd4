"""What follows from an attempt, for the delivery and for its endpoint's breaker."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias, get_args

from touchline_notifier.core.decisions.hold_reasons import CancelCode, HoldCode
from touchline_notifier.core.delivery.breaker import POLICY, Breaker, Policy
from touchline_notifier.core.delivery.channel import Attempt, Delivered, EndpointGone, GaveUp, Retry
from touchline_notifier.core.delivery.schedule import OutOfAttempts, TryAt, after_failure


@dataclass(frozen=True, slots=True)
class Sent:
    """It was delivered."""

    status: int | None


@dataclass(frozen=True, slots=True)
class Rescheduled:
    """It is tried again at a moment. ``excerpt``: see `GaveUp.excerpt`."""

    moment: datetime
    why: str
    status: int | None
    excerpt: str = ""

    @property
    def last_error(self) -> str:
        """The complete error, stored only in the delivery's own row."""
        return _whole(self.why, self.excerpt)


@dataclass(frozen=True, slots=True)
class Failed:
    """It is over, and an operator may replay it. ``excerpt``: see `GaveUp.excerpt`."""

    why: str
    status: int | None
    excerpt: str = ""

    @property
    def last_error(self) -> str:
        """The complete error, stored only in the delivery's own row."""
        return _whole(self.why, self.excerpt)


@dataclass(frozen=True, slots=True)
class Expired:
    """It waited too long, and is not wanted any more."""

    why: str


@dataclass(frozen=True, slots=True)
class Withheld:
    """It was due, and the customer or the address has been suppressed since the decision, or a limit forbids it."""

    code: HoldCode
    why: str


def _whole(why: str, excerpt: str) -> str:
    return f"{why}: {excerpt}" if excerpt else why


@dataclass(frozen=True, slots=True)
class Cancelled:
    """It was due, and is not wanted any more: the customer recovered or moved on, or the play is gone."""

    code: CancelCode
    why: str


Conclusion: TypeAlias = Sent | Rescheduled | Failed | Expired | Withheld | Cancelled

Result = Literal["sent", "retry", "failed", "held", "cancelled", "too_old"]
"""What became of a claimed delivery: by these names in `delivery_attempts`, the log and the metrics. `held` and
`cancelled` are the outcome that its action gets; `too_old` is cancelled too, for that reason.
"""
RESULTS: tuple[Result, ...] = get_args(Result)


def result_of(conclusion: Conclusion) -> Result:
    """The name of what follows."""
    match conclusion:
        case Sent():
            return "sent"
        case Rescheduled():
            return "retry"
        case Failed():
            return "failed"
        case Withheld():
            return "held"
        case Cancelled():
            return "cancelled"
        case Expired():
            return "too_old"


def conclude(attempt: Attempt, attempts: int, now: datetime, randomness: float) -> Conclusion:
    """What follows for the delivery.

    Args:
        attempts: made so far, this one included.
        randomness: uniform in [0, 1), for the jitter.
    """
    match attempt:
        case Delivered(status):
            return Sent(status)
        case GaveUp(why, status, excerpt) | EndpointGone(why, status, excerpt):
            return Failed(why, status, excerpt)
        case Retry(why, after, status, _, excerpt):
            match after_failure(attempts, now, randomness, retry_after=after):
                case TryAt(moment):
                    return Rescheduled(moment, why, status, excerpt)
                case OutOfAttempts(made):
                    return Failed(f"gave up after {made} attempts; the last: {why}", status, excerpt)


def learn(
    breaker: Breaker, attempt: Attempt, now: datetime, policy: Policy = POLICY, *, delivery: str | None = None
) -> Breaker:
    """What follows for the endpoint's breaker.

    One customer's data says nothing about the endpoint: what can't be written or is refused for its own sake never
    counts, and one delivery that fails again and again counts once.
    """
    match attempt:
        case GaveUp(_, None):  # it never reached the endpoint
            return breaker
        # An endpoint that rejects one message for its content works.
        case Delivered() | GaveUp() | Retry(own=True):
            return breaker.succeeded()
        case EndpointGone(why):
            return breaker.gone(why)
        case Retry(why, after, _, True):
            return breaker.throttled(now, why, after, policy)
        case Retry(why):
            return breaker.failed(now, why, policy, delivery=delivery)
