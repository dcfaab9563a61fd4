"""Where tracing is on: a span for each decision on a traced fact, the first one and later ones."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from touchline_runtime.tracing import Span, Tracing

from touchline_notifier.core.decisions.action import Action
from touchline_notifier.core.decisions.stage_events import StageEvent


@contextmanager
def traced(tracing: Tracing | None, events: Sequence[StageEvent]) -> Iterator[Sequence[StageEvent]]:
    """The events, those of a trace within a span of the decision on them."""
    if tracing is None or not any(event.trace for event in events):
        yield events
        return
    with _ended_together() as spans:
        found = []
        for event in events:
            if event.trace:
                span = tracing.start("decide", "consumer", event.trace, attributes={"touchline.fact_id": event.ce_id})
                spans.append(span)
                event = event.traced(span.context)
            found.append(event)
        yield found


@contextmanager
def traced_again(tracing: Tracing | None, actions: Sequence[Action]) -> Iterator[None]:
    """Within it, the facts of these actions, which have waited, belong to a span of the decision that is taken now."""
    with _ended_together() as spans:
        for action in actions:
            if tracing is not None and action.fact.trace:
                attributes = {"touchline.fact_id": action.fact.id, "touchline.action_id": action.action_id}
                span = tracing.start("decide again", "internal", action.fact.trace, attributes=attributes)
                spans.append(span)
                action.fact = replace(action.fact, trace=span.context)
        yield


@contextmanager
def _ended_together() -> Iterator[list[Span]]:
    """Spans that end with the block, with its error when it has one."""
    spans: list[Span] = []
    why = "cancelled"
    try:
        yield spans
        why = ""
    except Exception as error:
        why = type(error).__name__
        raise
    finally:
        for span in spans:
            span.end(why)
