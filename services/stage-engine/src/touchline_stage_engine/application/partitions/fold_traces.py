"""Where tracing is on: a span for each traced touchpoint that moved a customer, from its record to its facts."""

from collections.abc import Sequence
from typing import Any

import orjson
from touchline_runtime.tracing import HEADER, Span, Tracing, header_of

from touchline_stage_engine.application.batches.changes import Changes
from touchline_stage_engine.application.outbox_records import STAGE_CHANGES


class FoldTraces:
    """The spans of one batch.

    Args:
        touchpoints: the batch's records.
    """

    def __init__(self, tracing: Tracing, partition: int, touchpoints: Sequence[Any]) -> None:
        self._tracing = tracing
        self._partition = partition
        self._contexts: dict[str, str] = {}
        self._spans: dict[str, Span] = {}
        for record in touchpoints:
            context = header_of(record.headers)
            if context:
                named = next((value for name, value in record.headers if name == "ce_id"), None)
                ident = (named or b"").decode(errors="replace")
                self._contexts[ident] = context

    def annotate(self, changes: Changes) -> None:
        """Write the trace context into the headers of facts that a traced touchpoint of this batch has caused."""
        if not self._contexts:
            return
        for index, record in enumerate(changes.outbox):
            if record.topic == STAGE_CHANGES and record.value is not None:
                fact = orjson.loads(record.value)
                cause = (fact.get("reason") or fact).get("touchpoint_id")
                if cause in self._contexts:
                    header = (HEADER, self._span(cause).context.encode())
                    changes.outbox[index] = record._replace(about=[*record.headers, header])

    def end(self, error: str = "") -> None:
        """The batch is committed, or has failed."""
        for span in self._spans.values():
            span.end(error)

    def _span(self, touchpoint_id: str) -> Span:
        span = self._spans.get(touchpoint_id)
        if span is None:
            span = self._spans[touchpoint_id] = self._tracing.start(
                "fold", "consumer", self._contexts[touchpoint_id], attributes={"touchline.partition": self._partition}
            )
        return span
