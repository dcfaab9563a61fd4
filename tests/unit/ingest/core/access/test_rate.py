"""Rate limits: time is an argument."""

from hypothesis import given
from hypothesis import strategies as st
from touchline_ingest.core.access.rate import Bucket, Rate
from touchline_ingest.core.touchpoints.refusals import retry_after


def test_a_source_may_post_its_burst_at_once_and_then_its_rate() -> None:
    bucket = Bucket(Rate(per_second=10, burst=30), now=0.0)
    assert bucket.take(30, 0.0) == 0
    assert bucket.take(5, 0.0) == 0.5
    assert bucket.take(5, 0.5) == 0


def test_a_batch_larger_than_the_burst_is_delayed_and_not_impossible() -> None:
    bucket = Bucket(Rate(per_second=10, burst=30), now=0.0)
    assert bucket.take(100, 0.0) == 0
    assert bucket.take(1, 0.0) > 7
    assert bucket.take(1, 7.2) == 0


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0, 3)), max_size=60))
def test_no_more_passes_than_burst_and_rate_allow_plus_one_request_in_debt(requests: list[tuple[int, float]]) -> None:
    rate = Rate(per_second=20, burst=40)
    bucket, now, passed = Bucket(rate, 0.0), 0.0, 0
    for count, pause in requests:
        now += pause
        passed += count if bucket.take(count, now) == 0 else 0
    assert passed <= rate.burst + rate.per_second * now + 50 + 1e-6


def test_retry_after_is_a_whole_second_at_least() -> None:
    assert [retry_after(s) for s in (0.01, 1.0, 1.2)] == ["1", "1", "2"]
