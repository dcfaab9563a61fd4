"""What the reader does, as metrics."""

import time
from collections.abc import Collection

from touchline_runtime.metrics import Metrics, Sampled
from touchline_runtime.scraping import Samples

from touchline_notifier import metrics as declared
from touchline_notifier.application.deciding.decide import DecisionCounts
from touchline_notifier.core.decisions.hold_reasons import HoldCode, codes_of

_LAG_HOLDS_SECONDS = 30.0
"""The reader looks every 5 s."""


class MeteredReader:
    """An observer of the reader."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.partitions: frozenset[int] = frozenset()
        """Those that are owned now."""
        self._lag: dict[str, tuple[float, int]] = {}
        metrics.gauge(declared.PARTITIONS_OWNED).set_function(lambda: len(self.partitions))
        metrics.read_when_scraped(self._lag_now)
        # From 0 on, so that rate() sees the first increase.
        for outcome, reason in (("decided", "none"), *(("held", code) for code in codes_of(HoldCode))):
            metrics.counter(declared.DECISIONS).labels(outcome, reason)
        for what in ("touchpoints", "facts", "waiting"):
            metrics.histogram(declared.BATCH_SECONDS).labels(what)

    def touchpoints(self, count: int, seconds: float) -> None:
        """Touchpoints were folded into profiles."""
        self._metrics.counter(declared.TOUCHPOINTS_READ).inc(count)
        self._metrics.histogram(declared.BATCH_SECONDS).labels("touchpoints").observe(seconds)

    def decided(self, facts: int, counts: DecisionCounts, seconds: float) -> None:
        """Facts were decided on, or waiting actions."""
        self._metrics.counter(declared.FACTS_READ).inc(facts)
        self._metrics.counter(declared.SUBSCRIPTIONS).inc(counts.subscriptions)
        for outcome, reason in counts.decisions:
            self._metrics.counter(declared.DECISIONS).labels(outcome, reason).inc()
        self._metrics.histogram(declared.BATCH_SECONDS).labels("facts" if facts else "waiting").observe(seconds)

    def published(self, count: int) -> None:
        """Records were published."""
        self._metrics.counter(declared.EVENTS_PUBLISHED).inc(count)

    def owned(self, partitions: Collection[int]) -> None:
        """These partitions are owned now."""
        self.partitions = frozenset(partitions)
        if not partitions:
            self._lag.clear()

    def lag(self, topic: str, records: int) -> None:
        """So many records are unread."""
        self._lag[topic] = (time.monotonic(), records)

    async def _lag_now(self) -> dict[Sampled, Samples]:
        """What the reader found lately; nothing when it has not looked for a while."""
        since = time.monotonic() - _LAG_HOLDS_SECONDS
        return {declared.LAG: {(topic,): float(records) for topic, (at, records) in self._lag.items() if at > since}}

    def session(self) -> None:
        """A session starts."""
        self._metrics.counter(declared.SESSIONS).inc()
