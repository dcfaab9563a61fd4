"""A funnel counts everybody who came this far, whichever way they took."""

from touchline_stage_engine.core.analysis import FunnelStep, funnel_steps


def test_whoever_came_further_came_this_far() -> None:
    assert funnel_steps(["a", "b", "c"], {"a": 5, "c": 3}) == [
        FunnelStep("a", 8, None, 1.0),
        FunnelStep("b", 3, 3 / 8, 3 / 8),
        FunnelStep("c", 3, 1.0, 3 / 8),
    ]


def test_nobody_gives_no_shares() -> None:
    assert [step[1:] for step in funnel_steps(["a", "b"], {})] == [(0, None, None), (0, None, None)]


def test_stages_beside_the_order_are_left_out() -> None:
    assert funnel_steps(["a"], {"a": 2, "beside": 9}) == [FunnelStep("a", 2, None, 1.0)]
