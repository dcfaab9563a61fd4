"""Counts in the metrics what a committed batch has done."""

from collections.abc import Iterable

from touchline_runtime.metrics import Metrics

from touchline_stage_engine import metrics as declared
from touchline_stage_engine.application.batches.changes import Changes

DEAD_LETTER_REASONS = (
    "invalid_message", "invalid_touchpoint", "no_value", "not_json", "unprocessable", "wrong_key", "wrong_partition",
)  # fmt: skip
_MOVES = (("enter", "rule"), ("advance", "rule"), ("regress", "rule"), ("lapse", "lapse"))


def begin_at_zero(metrics: Metrics, lifecycles: Iterable[str]) -> None:
    """Create counters with known labels at the start, so that rate() includes the first event."""
    for reason in DEAD_LETTER_REASONS:
        metrics.counter(declared.DEAD_LETTERS).labels(reason)
    for lifecycle in lifecycles:
        for move, reason in _MOVES:
            metrics.counter(declared.MOVES).labels(lifecycle, move, reason)
        metrics.counter(declared.STALLS).labels(lifecycle, "1")
        metrics.counter(declared.RECOVERIES).labels(lifecycle)


def count(metrics: Metrics, changes: Changes) -> None:
    """Count what a batch has done."""
    counts = changes.counts
    for metric, name in (
        (declared.TOUCHPOINTS_FOLDED, "folded"),
        (declared.TOUCHPOINTS_DUPLICATE, "duplicates"),
        (declared.TOUCHPOINTS_CONFLICTING, "conflicts"),
        (declared.TOUCHPOINTS_LATE, "late"),
        (declared.TOUCHPOINTS_READ_AGAIN, "read_again"),
        (declared.TOUCHPOINTS_ERASED, "erased"),
    ):
        if counts[name] > 0:
            metrics.counter(metric).inc(counts[name])
    for reason, number in changes.poison.items():
        metrics.counter(declared.DEAD_LETTERS).labels(reason).inc(number)
    for (lifecycle, move, reason), number in changes.moves.items():
        metrics.counter(declared.MOVES).labels(lifecycle, move, reason).inc(number)
    for (lifecycle, level), number in changes.stalls.items():
        metrics.counter(declared.STALLS).labels(lifecycle, level).inc(number)
    for lifecycle, number in changes.recoveries.items():
        metrics.counter(declared.RECOVERIES).labels(lifecycle).inc(number)
