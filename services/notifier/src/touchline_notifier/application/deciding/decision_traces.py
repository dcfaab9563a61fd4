"""Where tracing is on: a span for each decision on a traced fact."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from touchline_runtime.tracing import Span, Tracing

from touchline_notifier.core.decisions.stage_events import StageEvent


@contextmanager
def traced(tracing: Tracing | None, events: Sequence[StageEvent]) -> Iterator[Sequence[StageEvent]]:
    """The events, those of a trace within a span of the decision on them."""
    if tracing is None or not any(event.trace for event in events):
        yield events
        return
    spans: list[Span] = []
    found = []
    for event in events:
        if event.trace:
            span = tracing.start("decide", "consumer", event.trace, attributes={"touchline.fact_id": event.ce_id})
            spans.append(span)
            event = event.traced(span.context)
        found.append(event)
    why = "cancelled"
    try:
        yield found
        why = ""
    except Exception as error:
        why = type(error).__name__
        raise
    finally:
        for span in spans:
            span.end(why)
