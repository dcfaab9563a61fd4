"""The age of the oldest touchpoint that is not folded yet, at most, for each partition of this process."""

import time


class Freshness:
    """Keeps up to which instant everything has been folded."""

    def __init__(self) -> None:
        self._folded: dict[int, float] = {}

    def begin(self, partition: int) -> None:
        """A partition was assigned; its age is known after the first batch."""
        self._folded[partition] = time.time()

    def folded(self, partition: int, timestamp_ms: int) -> None:
        """The records up to one with this timestamp (milliseconds) are folded."""
        self._folded[partition] = timestamp_ms / 1000

    def caught_up(self, partition: int, clock_us: int) -> None:
        """Everything that was on the topic at this clock reading (microseconds) is folded."""
        self._folded[partition] = clock_us / 1_000_000

    def age(self, partition: int) -> float:
        """The age in seconds."""
        return max(0.0, time.time() - self._folded.get(partition, time.time()))
