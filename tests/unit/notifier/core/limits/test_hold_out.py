"""Does the play work? The interval of the difference of two shares."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_notifier.core.limits.hold_out import Group, compare, wilson


def test_wilsons_interval_is_the_published_one() -> None:
    # Newcombe 1998, table I: 81 of 263, score without continuity correction.
    low, high = wilson(Group(263, 81))
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


def test_the_difference_is_the_published_one() -> None:
    # Newcombe 1998, table II, example (a), method 10: 56/70 − 48/80.
    found = compare(Group(70, 56), Group(80, 48))
    assert found.low == pytest.approx(0.0524, abs=5e-5)
    assert found.high == pytest.approx(0.3339, abs=5e-5)
    assert found.verdict == "works"


def test_nobody_and_few_are_too_few_to_say() -> None:
    assert compare(Group(0, 0), Group(10, 1)).verdict == "too few to say"
    assert compare(Group(9, 9), Group(100, 1)).verdict == "too few to say"


groups = st.integers(1, 500).flatmap(lambda size: st.builds(Group, st.just(size), st.integers(0, size)))


@given(treated=groups, held_out=groups)
def test_the_interval_holds_the_difference_and_stays_in_range(treated: Group, held_out: Group) -> None:
    found = compare(treated, held_out)
    assert found.difference is not None
    assert found.low is not None
    assert found.high is not None
    assert -1 - 1e-9 <= found.low <= found.difference + 1e-9
    assert found.difference - 1e-9 <= found.high <= 1 + 1e-9
    other = compare(held_out, treated)
    assert other.difference == pytest.approx(-found.difference)
