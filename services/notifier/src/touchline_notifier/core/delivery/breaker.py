"""The circuit breaker of an endpoint, as a pure state machine.

An endpoint that fails repeatedly gets no deliveries for a while, so that its deliveries cost neither the others nor the
endpoint itself. They keep their attempts while they wait: only real attempts count.

    state      event      next       what it means
    ---------  ---------  ---------  ---------------------------------------------------------------
    closed     succeeded  closed     failures start again at none
    closed     failed     closed     one more failure in a row; below the threshold
    closed     failed     open       the threshold is reached: nothing is sent until `open_until`
    closed     throttled  open       429, 502 or 504: it asks for less, so nothing is sent for a while
    open       claimed    half_open  the pause is over: one delivery goes as a probe, alone
    half_open  succeeded  closed     it is back
    half_open  failed     open       not back yet: a pause twice as long
    half_open  throttled  open       the same, at least as long as it asks for
    any        gone       disabled   410: it wants no more, for good
    any        failed     disabled   nothing but failures for five days
    disabled   enabled    closed     an operator says so

What was in flight when the breaker opened may still report: ``open`` takes ``succeeded`` as a sign of life and closes,
and lets ``failed`` pass: it belongs to the failures that opened it.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

State = Literal["closed", "open", "half_open", "disabled"]


@dataclass(frozen=True, slots=True)
class Policy:
    """When to open, and for how long."""

    threshold: int = 5
    first_pause: timedelta = timedelta(seconds=10)
    longest_pause: timedelta = timedelta(hours=1)
    throttle_pause: timedelta = timedelta(seconds=5)
    disable_after: timedelta = timedelta(hours=120)
    disable_at_least: int = 20
    """Failures in a row that disabling needs beside the time: two failures of a rarely used endpoint are not enough."""


POLICY = Policy()


@dataclass(frozen=True, slots=True)
class Breaker:
    """An endpoint's state. It is a row in the database, so it survives a restart.

    Attributes:
        failures: in a row, since the last success; each beyond the threshold doubles the pause.
        open_until: no delivery goes out before it (open), or when the probe is given up for lost (half_open).
        failing_since: the first failure in a row.
        failing: the deliveries that failed in a row, each counted once while the breaker is closed.
        reason: why it is disabled, for people.
    """

    state: State = "closed"
    failures: int = 0
    open_until: datetime | None = None
    failing_since: datetime | None = None
    reason: str | None = None
    failing: tuple[str, ...] = ()

    def allows(self, now: datetime) -> bool:
        """Whether a delivery may be claimed for this endpoint now."""
        if self.state == "closed":
            return True
        if self.state == "disabled":
            return False
        # A half-open endpoint has one probe under way. When its time is over (the worker died), another may be sent.
        return self.open_until is None or self.open_until <= now

    def claimed(self, now: datetime, probe_until: datetime) -> "Breaker":
        """A delivery was claimed. After a pause it is the probe, and the only one until ``probe_until``.

        Raises:
            ValueError: the breaker doesn't allow it now.
        """
        if not self.allows(now):
            raise ValueError(f"the endpoint is {self.state} until {self.open_until}")
        if self.state == "closed":
            return self
        return replace(self, state="half_open", open_until=probe_until)

    def succeeded(self) -> "Breaker":
        """A delivery succeeded."""
        return self if self.state == "disabled" else Breaker()

    def failed(self, now: datetime, reason: str, policy: Policy = POLICY, *, delivery: str | None = None) -> "Breaker":
        """A delivery failed: no answer, or one that is not 2xx.

        Args:
            delivery: which one. The attempts of a single delivery can't open the breaker: what one message causes
                (a receiver that crashes over a customer's name) is no news of the endpoint.
        """
        if self.state in ("disabled", "open"):
            return self
        if self.state == "closed" and delivery is not None and delivery in self.failing:
            return self
        since = self.failing_since or now
        failing = self.failing if delivery is None else (*self.failing, delivery)[-policy.disable_at_least :]
        counted = replace(self, failures=self.failures + 1, failing_since=since, failing=failing)
        if now - since >= policy.disable_after and counted.failures >= policy.disable_at_least:
            hours = policy.disable_after // timedelta(hours=1)
            return counted._disabled(f"failing for more than {hours} hours; the last: {reason}")
        if self.state == "half_open" or counted.failures >= policy.threshold:
            return counted._opened(now, _doubled(policy.first_pause, counted.failures - policy.threshold, policy))
        return counted

    def throttled(
        self, now: datetime, reason: str, retry_after: timedelta | None = None, policy: Policy = POLICY
    ) -> "Breaker":
        """The endpoint asks for fewer requests (429, or an overloaded gateway in front of it: 502, 504)."""
        after = self.failed(now, reason, policy)
        if after.state == "disabled":
            return after
        if retry_after is not None:
            pause = min(retry_after, policy.longest_pause)
        elif self.state == "open":  # one of the burst that opened it
            return after
        else:
            pause = _doubled(policy.throttle_pause, after.failures - 1, policy)
        until = now + pause
        if after.state == "open" and after.open_until is not None:
            until = max(until, after.open_until)
        return replace(after, state="open", open_until=until)

    def gone(self, reason: str) -> "Breaker":
        """The endpoint answered 410: it accepts no more deliveries."""
        return self._disabled(reason)

    def enabled(self) -> "Breaker":
        """An operator enables it again."""
        return Breaker()

    def _opened(self, now: datetime, pause: timedelta) -> "Breaker":
        return replace(self, state="open", open_until=now + pause)

    def _disabled(self, reason: str) -> "Breaker":
        return replace(self, state="disabled", open_until=None, reason=reason)


def _doubled(first: timedelta, times: int, policy: Policy) -> timedelta:
    # The exponent is bounded: after enough doublings the longest pause is reached anyway.
    return min(first * (1 << min(max(times, 0), 16)), policy.longest_pause)
