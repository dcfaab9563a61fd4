"""Rate, errors and duration of HTTP requests, and readiness, in every service: added to each service's own metrics."""

import time
from typing import Any

from prometheus_client import Counter as LiveCounter
from prometheus_client import Histogram as LiveHistogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from touchline_runtime.metrics import Counter, Histogram, Metrics, Sampled
from touchline_runtime.process.health import Health
from touchline_runtime.scraping import Samples

REQUESTS = Counter(
    "touchline_http_requests",
    "HTTP requests answered, by route and status. The route is the path's template (`/v1/customers/{customer_id}`); "
    "`none` for requests that reached no route: refused before (401, 403, 413), or for a path that does not exist.",
    "5xx: look at the service's log (`request_failed`) and at /readyz. 401: a token was revoked or mistyped.",
    ("service", "method", "route", "status"),
)
REQUEST_SECONDS = Histogram(
    "touchline_http_request_seconds",
    "Time from a request's headers to the start of its answer.",
    "High on all routes: the process is short of CPU, or PostgreSQL or Kafka is slow; run another process.",
    ("service", "route"),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
READY = Sampled(
    "touchline_ready",
    "1 while a check of /readyz passes, 0 while it does not.",
    "0: GET /readyz on TOUCHLINE_METRICS_PORT says why; so does the log (`not_ready`).",
    ("service", "check"),
    across="min",
)
ALL = (REQUESTS, REQUEST_SECONDS, READY)

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


def service_label(title: str) -> str:
    """The value of the label ``service``: ``Touchline stage engine`` → ``stage-engine``."""
    return title.lower().removeprefix("touchline ").replace(" ", "-")


def install(metrics: Metrics, health: Health, service: str) -> None:
    """Declare the metrics that every service exports, and run the checks of /readyz at each scrape."""
    metrics.add(ALL)
    _watch_readiness(metrics, health, service)


def _watch_readiness(metrics: Metrics, health: Health, service: str) -> None:
    """Run the checks of /readyz at each scrape."""

    async def readiness() -> dict[Sampled, Samples]:
        _, checks = await health.readiness()
        return {READY: {(service, name): float(result == "ok") for name, result in checks.items()}}

    metrics.read_when_scraped(readiness)


class HttpMetrics:
    """The outermost ASGI middleware, so it also counts requests that the other middlewares reject."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, service: str) -> None:
        self._app = app
        self._service = service
        self._requests = metrics.counter(REQUESTS)
        self._seconds = metrics.histogram(REQUEST_SECONDS)
        self._counters: dict[tuple[str, str, int], LiveCounter] = {}
        self._histograms: dict[str, LiveHistogram] = {}
        # From the start, so that the first failure raises the counter from 0 instead of creating a series.
        for status in (200, 500, 503):
            self._counter("GET", "none", status)
        self._histogram("none")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500
        seconds = -1.0

        async def sending(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status, seconds = message["status"], time.perf_counter() - began
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            route = getattr(scope.get("route"), "path_format", "none")
            self._counter(scope["method"], route, status).inc()
            self._histogram(route).observe(seconds if seconds >= 0 else time.perf_counter() - began)

    def _counter(self, method: str, route: str, status: int) -> Any:
        method = method if method in _METHODS else "other"
        found = self._counters.get((method, route, status))
        if found is None:
            found = self._requests.labels(self._service, method, route, str(status))
            self._counters[method, route, status] = found
        return found

    def _histogram(self, route: str) -> Any:
        found = self._histograms.get(route)
        if found is None:
            found = self._histograms[route] = self._seconds.labels(self._service, route)
        return found
