"""Kind: a fault that is met at every retry. Its log says when it begins, that it goes on, and when it is over."""

from typing import Any

import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from touchline_runtime.process.repeated_faults import EVERY_SECONDS, FaultLog


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def a_log(clock: Clock, **more: Any) -> FaultLog:
    return FaultLog(structlog.get_logger("test"), "interrupted", clock=clock, **more)


@given(partitions=st.integers(1, 64), minutes=st.integers(1, 10), wait=st.floats(0.1, 5))
def test_an_outage_of_many_partitions_has_a_line_a_minute(partitions: int, minutes: int, wait: float) -> None:
    clock = Clock()
    faults = a_log(clock, sources="partitions")
    with capture_logs() as logs:
        attempts = 0
        while clock.now < minutes * 60:
            for partition in range(partitions):
                faults.failed(f"partition {partition} is away", source=partition, reason="away")
                attempts += 1
            clock.now += wait
        for partition in range(partitions):
            faults.over(partition)
    *lines, over = logs
    assert minutes <= len(lines) <= minutes + 1
    assert lines[0]["partitions"] == [0]
    assert all(line["partitions"] == list(range(partitions)) for line in lines[1:])
    assert (over["event"], over["fault"], over["attempts"]) == ("fault_over", "interrupted", attempts)


@given(st.lists(st.tuples(st.floats(0, 90), st.sampled_from(["refused", "read-only", None])), max_size=200))
def test_whatever_comes_and_goes_an_operator_sees_it_and_is_not_flooded(
    steps: list[tuple[float, str | None]],
) -> None:
    """Property: no minute has more than a few lines; and while it fails, the last line is never older than a minute
    at the time of an attempt."""
    clock = Clock()
    faults = a_log(clock)
    lines: list[tuple[float, str]] = []
    failing = False
    for wait, reason in steps:
        clock.now += wait
        with capture_logs() as logs:
            if reason is None:
                faults.over()
            else:
                faults.failed(reason)
        lines += [(clock.now, line["event"]) for line in logs]
        failing = reason is not None
        if failing:
            said = [at for at, event in lines if event == "interrupted"]
            assert clock.now - said[-1] < EVERY_SECONDS
    for at, _ in lines:
        assert sum(at <= other < at + EVERY_SECONDS for other, event in lines if event == "interrupted") <= 3
    if not failing and any(reason for _, reason in steps):
        assert lines[-1][1] == "fault_over"


def test_a_new_reason_is_logged_at_once() -> None:
    clock = Clock()
    faults = a_log(clock)
    with capture_logs() as logs:
        for error in ("refused", "refused", "read-only", "refused"):
            faults.failed(error)
            clock.now += 1
    assert [(line["error"], line["attempts"]) for line in logs] == [("refused", 1), ("read-only", 3)]


def test_reasons_that_change_at_every_attempt_do_not_flood_the_log() -> None:
    clock = Clock()
    faults = a_log(clock)
    with capture_logs() as logs:
        for number in range(1000):
            faults.failed(f"no answer at offset {number}")
            clock.now += 0.05
    assert len(logs) <= 20
