"""Kind: something that a sender causes record by record must not fill the log, and stays visible."""

from itertools import pairwise

import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from touchline_runtime.process import repeated_events
from touchline_runtime.process.repeated_events import EVERY_SECONDS, EventLog


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.tuples(st.floats(0, 90), st.sampled_from("abc"), st.integers(1, 50)), max_size=200))
def test_each_cause_has_a_line_a_minute_and_each_time_is_counted_once(steps: list[tuple[float, str, int]]) -> None:
    clock = Clock()
    events = EventLog(structlog.get_logger("test"), "conflict", clock=clock)
    lines: list[tuple[float, str, int]] = []
    happened: dict[str, int] = dict.fromkeys("abc", 0)
    for wait, cause, times in steps:
        clock.now += wait
        happened[cause] += times
        with capture_logs() as logs:
            events.happened(cause, times, source=cause)
        lines += [(clock.now, line["source"], line["times"]) for line in logs]
        assert all(line["event"] == "conflict" for line in logs)
        if logs:
            # What was not said by earlier lines is said by this one.
            assert sum(said for _, source, said in lines if source == cause) == happened[cause]
    for cause in "abc":
        at = [when for when, source, _ in lines if source == cause]
        assert all(later - earlier >= EVERY_SECONDS for earlier, later in pairwise(at))
        assert bool(at) is bool(happened[cause])


def test_causes_without_number_take_bounded_memory() -> None:
    events = EventLog(structlog.get_logger("test"), "conflict", clock=Clock())
    with capture_logs():
        for number in range(repeated_events._MOST + 500):
            events.happened(number)
    assert len(events._seen) == repeated_events._MOST
