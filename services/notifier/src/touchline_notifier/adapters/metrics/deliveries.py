"""What the delivery worker does, as metrics."""

from collections.abc import Mapping
from typing import get_args

from touchline_runtime.metrics import Metrics

from touchline_notifier import metrics as declared
from touchline_notifier.core.delivery.channel import Delivery
from touchline_notifier.core.delivery.conclusion import Conclusion
from touchline_notifier.core.delivery.endpoints import Endpoint


class MeteredDeliveries:
    """An observer of the worker."""

    def __init__(self, metrics: Metrics, endpoints: Mapping[str, Endpoint]) -> None:
        self._attempts = metrics.counter(declared.DELIVERY_ATTEMPTS)
        self._seconds = metrics.histogram(declared.DELIVERY_SECONDS)
        # From 0 on, so that rate() sees the first failure.
        for name, endpoint in endpoints.items():
            for conclusion in get_args(Conclusion):
                self._attempts.labels(endpoint.type, name, conclusion.__name__.lower())
            self._seconds.labels(endpoint.type)

    def __call__(self, delivery: Delivery, conclusion: Conclusion, seconds: float) -> None:
        """An attempt was concluded."""
        self._attempts.labels(delivery.channel, delivery.endpoint, type(conclusion).__name__.lower()).inc()
        self._seconds.labels(delivery.channel).observe(seconds)
