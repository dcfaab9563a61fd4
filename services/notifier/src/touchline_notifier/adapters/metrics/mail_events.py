"""Opens and clicks of tracked mails, as metrics."""

from collections.abc import Callable
from typing import get_args

from touchline_runtime.metrics import Metrics

from touchline_notifier import metrics as declared
from touchline_notifier.core.tracking.events import Kind, MailEvent


def metered_mail_events(metrics: Metrics) -> Callable[[MailEvent, bool], None]:
    """An observer of the judge."""
    events = metrics.counter(declared.MAIL_EVENTS)
    # From 0 on, so that rate() sees the first one.
    for kind in get_args(Kind):
        for by in ("human", "machine"):
            events.labels(kind, by)

    def observe(event: MailEvent, machine: bool) -> None:
        events.labels(event.kind, "machine" if machine else "human").inc()

    return observe
