"""The Kaplan-Meier estimate against published figures and a plain computation of another form."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_stage_engine.core.analysis.survival import Stays, kaplan_meier, thinned

# Freireich et al. 1963, remission of leukemia under 6-MP (weeks): the textbook example. Lengths with + are censored.
LEFT = [6, 6, 6, 7, 10, 13, 16, 22, 23]
CENSORED = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
PUBLISHED = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
AT_RISK = {6: 21, 7: 17, 10: 15, 13: 12, 16: 11, 22: 7, 23: 6}


def test_the_estimate_is_the_published_one() -> None:
    curve = kaplan_meier([*(Stays(t, 1, 0) for t in LEFT), *(Stays(t, 0, 1) for t in CENSORED)])
    assert {point.length: round(point.share, 3) for point in curve.points} == PUBLISHED
    assert {point.length: point.at_risk for point in curve.points} == AT_RISK
    assert curve.median == 23
    assert (curve.stays, curve.left) == (21, 9)


def test_confidence_limits_are_those_of_the_log_log_transform() -> None:
    # survival::survfit(Surv(t, d) ~ 1, conf.type = "log-log") of R on the same data, at 10 and 23 weeks.
    curve = kaplan_meier([*(Stays(t, 1, 0) for t in LEFT), *(Stays(t, 0, 1) for t in CENSORED)])
    limits = {point.length: (round(point.lower, 3), round(point.upper, 3)) for point in curve.points}
    assert limits[10] == (0.503, 0.889)
    assert limits[23] == (0.188, 0.680)
    assert curve.median_lower == 13
    assert curve.median_upper is None


stays = st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=60)


@given(stays)
def test_the_share_is_the_product_of_what_remains_at_each_length(observed: list[tuple[int, bool]]) -> None:
    curve = kaplan_meier(Stays(float(length), int(left), int(not left)) for length, left in observed)
    for point in curve.points:
        share = 1.0
        for length in sorted({t for t, left in observed if left and t <= point.length}):
            at_risk = sum(t >= length for t, _ in observed)
            share *= 1 - sum(left and t == length for t, left in observed) / at_risk
        assert math.isclose(point.share, share, abs_tol=1e-12)
        assert 0 <= point.lower <= point.share <= point.upper <= 1
    assert curve.left == sum(left for _, left in observed)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60))
def test_without_censoring_it_is_the_share_that_stayed_longer(lengths: list[int]) -> None:
    curve = kaplan_meier(Stays(float(length), 1, 0) for length in lengths)
    for point in curve.points:
        assert math.isclose(point.share, sum(t > point.length for t in lengths) / len(lengths), abs_tol=1e-12)


def test_leaving_the_censored_out_would_bias_the_median() -> None:
    left, inside = [Stays(float(day), 1, 0) for day in range(1, 6)], [Stays(30.0, 0, 1)] * 20
    assert kaplan_meier(left).median == 3
    assert kaplan_meier([*left, *inside]).median is None


def test_nobody_gives_no_curve() -> None:
    curve = kaplan_meier([])
    assert (curve.points, curve.median) == ((), None)


@pytest.mark.parametrize("number", [1, 10, 1000])
def test_thinning_keeps_first_and_last_and_every_visible_step(number: int) -> None:
    curve = kaplan_meier(Stays(float(day), 1, 0) for day in range(number))
    kept = thinned(curve.points, 100)
    assert (kept[0], kept[-1]) == (curve.points[0], curve.points[-1])
    assert len(kept) <= 210
    assert all(a.share - b.share <= 1 / 50 + 1 / number for a, b in pairwise(kept))
