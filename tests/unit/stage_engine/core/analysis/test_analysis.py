"""A funnel counts everybody who came this far, whichever way they took."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_stage_engine.core.analysis.funnel import FunnelStep, funnel_steps, stages_by_former_name
from touchline_stage_engine.core.definitions.model import Definition
from touchline_stage_engine.core.definitions.parse import read_definition


def test_customers_who_reached_a_later_stage_count_as_having_reached_the_earlier_ones() -> None:
    assert funnel_steps(["a", "b", "c"], {"a": 5, "c": 3}) == [
        FunnelStep("a", 8, None, 1.0),
        FunnelStep("b", 3, 3 / 8, 3 / 8),
        FunnelStep("c", 3, 1.0, 3 / 8),
    ]


def test_nobody_gives_no_shares() -> None:
    assert [step[1:] for step in funnel_steps(["a", "b"], {})] == [(0, None, None), (0, None, None)]


def test_stages_beside_the_order_are_left_out() -> None:
    assert funnel_steps(["a"], {"a": 2, "beside": 9}) == [FunnelStep("a", 2, None, 1.0)]


def _definition(stages: str, off_path: str = "", version: int = 1) -> Definition:
    beside = f"off_path: [{', '.join(f'{{name: {one}}}' for one in off_path)}]\n" if off_path else ""
    listed = ", ".join(f"{{name: {one}}}" for one in stages)
    return read_definition(f"lifecycle: l\nversion: {version}\nstages: [{listed}]\n{beside}", "l.yaml")


@pytest.mark.parametrize(
    ("former", "now", "meant"),
    [
        ("abc", "axc", {"b": "x"}),  # renamed in the middle,
        ("abc", "xbc", {"a": "x"}),  # at the beginning,
        ("abc", "abx", {"c": "x"}),  # at the end,
        ("abc", "xyz", {"a": "x", "b": "y", "c": "z"}),  # everywhere
        ("abc", "ac", {"b": "a"}),  # taken out: the stage before
        ("abc", "bc", {"a": "b"}),
        ("abcd", "axd", {"b": "x", "c": "x"}),  # two become one
        ("ac", "abc", {}),  # added
        ("abc", "cba", {}),  # another order
    ],
)
def test_stages_of_an_earlier_version_are_known_by_their_present_names(
    former: str, now: str, meant: dict[str, str]
) -> None:
    assert stages_by_former_name(_definition(now, version=2), [_definition(former)]) == meant


def test_stages_beside_the_order_are_matched_among_themselves_or_keep_their_names() -> None:
    newest = _definition("ab", "x", 3)
    assert stages_by_former_name(newest, [_definition("ab", "y", 2), _definition("az", "q")]) == {
        "y": "x", "z": "b", "q": "x",
    }  # fmt: skip
    assert stages_by_former_name(_definition("ab", version=2), [_definition("ab", "y")]) == {}


@given(st.lists(st.permutations("abcdefg").map(lambda names: "".join(names[:4])), min_size=2, max_size=4))
def test_every_stage_of_the_order_has_a_place_in_the_funnel(versions: list[str]) -> None:
    """Kind: a view of all customers that leaves out those whom an earlier version holds."""
    newest, *earlier = [_definition(stages, version=number) for number, stages in enumerate(versions, 1)]
    found = stages_by_former_name(newest, earlier)
    for stages in versions:
        for name in stages:
            assert found.get(name, name) in versions[0]
