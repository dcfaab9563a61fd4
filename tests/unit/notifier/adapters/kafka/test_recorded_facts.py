"""Which recorded facts a preview reads."""

from hypothesis import given
from hypothesis import strategies as st
from touchline_notifier.adapters.kafka.recorded_facts import newest_of_each


@given(sizes=st.lists(st.integers(0, 50), min_size=1, max_size=12), at_most=st.integers(1, 100))
def test_whole_partitions_are_read_as_far_as_they_fit(sizes: list[int], at_most: int) -> None:
    wanted = newest_of_each(sizes, at_most)
    assert len(wanted) == len(sizes)
    assert sum(wanted) <= at_most
    if sizes[0] > at_most:
        assert wanted == [at_most] + [0] * (len(sizes) - 1)
    else:
        read = next((n for n in range(len(sizes)) if sum(sizes[: n + 1]) > at_most), len(sizes))
        assert wanted == sizes[:read] + [0] * (len(sizes) - read)
