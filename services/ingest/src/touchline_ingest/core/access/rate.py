"""Rate limits: one token bucket for each source. Time is an argument, in seconds of a monotonic clock."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """Touchpoints a second that a source may post, and how many at once after a pause."""

    per_second: float
    burst: float


class Bucket:
    """The token bucket of one source; starts full.

    A request larger than the burst is accepted when the bucket is full, and leaves it negative: a large batch is
    delayed, but never impossible.
    """

    __slots__ = ("_at", "_tokens", "rate")

    def __init__(self, rate: Rate, now: float) -> None:
        self.rate = rate
        self._tokens = rate.burst
        self._at = now

    def take(self, count: int, now: float) -> float:
        """Take tokens for that many touchpoints.

        Returns:
            0 when they were taken; else the seconds after which it is worth trying again, and nothing was taken.
        """
        wait = self.wait_for(count, now)
        if wait == 0:
            self._tokens -= count
        return wait

    def wait_for(self, count: int, now: float) -> float:
        """Seconds until that many could be taken; 0: now."""
        self._tokens = min(self.rate.burst, self._tokens + (now - self._at) * self.rate.per_second)
        self._at = now
        missing = min(count, self.rate.burst) - self._tokens
        return missing / self.rate.per_second if missing > 1e-9 else 0.0
