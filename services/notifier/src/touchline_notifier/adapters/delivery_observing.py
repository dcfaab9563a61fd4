"""What the delivery worker does, as metrics."""

from touchline_runtime.metrics import Metrics

from touchline_notifier import metrics as declared
from touchline_notifier.core.channel import Delivery
from touchline_notifier.core.delivery.conclusion import Conclusion


class MeteredDeliveries:
    """An observer of the worker."""

    def __init__(self, metrics: Metrics) -> None:
        self._attempts = metrics.counter(declared.DELIVERY_ATTEMPTS)
        self._seconds = metrics.histogram(declared.DELIVERY_SECONDS)

    def __call__(self, delivery: Delivery, conclusion: Conclusion, seconds: float) -> None:
        """An attempt was concluded."""
        self._attempts.labels(delivery.channel, delivery.endpoint, type(conclusion).__name__.lower()).inc()
        self._seconds.labels(delivery.channel).observe(seconds)
