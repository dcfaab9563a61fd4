"""What the reader does, as metrics."""

from touchline_runtime.metrics import Metrics

from touchline_notifier import metrics as declared
from touchline_notifier.adapters.decisions import Tally


class MeteredReader:
    """An observer of the reader."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def touchpoints(self, count: int, seconds: float) -> None:
        """Touchpoints were folded into profiles."""
        self._metrics.counter(declared.TOUCHPOINTS_READ).inc(count)
        self._metrics.histogram(declared.BATCH_SECONDS).labels("touchpoints").observe(seconds)

    def decided(self, facts: int, tally: Tally, seconds: float) -> None:
        """Facts were decided on, or waiting actions."""
        self._metrics.counter(declared.FACTS_READ).inc(facts)
        self._metrics.counter(declared.SUBSCRIPTIONS).inc(tally.subscriptions)
        for outcome, reason in tally.decisions:
            self._metrics.counter(declared.DECISIONS).labels(outcome, reason).inc()
        self._metrics.histogram(declared.BATCH_SECONDS).labels("facts" if facts else "waiting").observe(seconds)

    def published(self, count: int) -> None:
        """Records were published."""
        self._metrics.counter(declared.EVENTS_PUBLISHED).inc(count)

    def owned(self, count: int) -> None:
        """So many partitions are owned now."""
        self._metrics.gauge(declared.PARTITIONS_OWNED).set(count)

    def lag(self, topic: str, records: int) -> None:
        """So many records are unread."""
        self._metrics.gauge(declared.LAG).labels(topic).set(records)

    def session(self) -> None:
        """A session starts."""
        self._metrics.counter(declared.SESSIONS).inc()
