"""What the delivery worker does, as metrics."""

from collections.abc import Mapping

from touchline_runtime.metrics import Metrics

from touchline_notifier import metrics as declared
from touchline_notifier.core.delivery.channel import Delivery
from touchline_notifier.core.delivery.conclusion import RESULTS, Conclusion, result_of
from touchline_notifier.core.delivery.endpoints import Endpoint


class MeteredDeliveries:
    """An observer of the worker."""

    def __init__(self, metrics: Metrics, endpoints: Mapping[str, Endpoint]) -> None:
        self._attempts = metrics.counter(declared.DELIVERY_ATTEMPTS)
        self._seconds = metrics.histogram(declared.DELIVERY_SECONDS)
        # From 0 on, so that rate() sees the first failure.
        for name, endpoint in endpoints.items():
            for result in RESULTS:
                self._attempts.labels(endpoint.type, name, result)
            self._seconds.labels(endpoint.type)

    def __call__(self, delivery: Delivery, conclusion: Conclusion, seconds: float) -> None:
        """An attempt was concluded."""
        self._attempts.labels(delivery.channel, delivery.endpoint, result_of(conclusion)).inc()
        self._seconds.labels(delivery.channel).observe(seconds)
