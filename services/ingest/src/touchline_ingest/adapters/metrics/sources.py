"""Counters for each configured source, from 0: the first event is then an increase that rate() shows."""

from touchline_runtime.metrics import Metrics

from touchline_ingest import metrics as declared
from touchline_ingest.core.access.configured_sources import KEYED_KINDS, KINDS_BY_ENDPOINT, Sources
from touchline_ingest.core.touchpoints.vendor_requests import DEAD_LETTER_REASONS

_OUTCOMES = ("accepted", "rejected", "unacknowledged")


def start_at_zero(metrics: Metrics, sources: Sources) -> None:
    """Create the counters of these sources with the value 0."""
    for entry in sources.entries.values():
        endpoints = [endpoint for endpoint, kinds in KINDS_BY_ENDPOINT.items() if entry.kind in kinds]
        for endpoint in endpoints or ["webhooks"]:
            for outcome in _OUTCOMES:
                metrics.counter(declared.TOUCHPOINTS).labels(entry.name, endpoint, outcome)
        metrics.counter(declared.RATE_LIMITED).labels(entry.name)
        if entry.kind not in KEYED_KINDS:
            for reason in DEAD_LETTER_REASONS:
                metrics.counter(declared.DEAD_LETTERS).labels(entry.name, reason)
