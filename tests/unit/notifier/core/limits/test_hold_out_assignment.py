"""Nobody changes groups: not when the share changes, not when keys merge."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_notifier.core.decisions.customer_history import CustomerHistory
from touchline_notifier.core.limits.hold_out import is_held_out
from touchline_notifier.core.limits.limits import Circumstances

from tests.support.notifier.builders import NOON, a_decider, a_play, a_stall

shares = st.lists(st.sampled_from([0.05, 0.1, 0.2, 0.3, 0.5, 0.9, 1.0]), min_size=2, max_size=6)


def outcomes_of(customer: str, steps: Sequence[float]) -> list[str]:
    """What becomes of a customer's stalls under one share after the other; the history is the recorded assignment."""
    history = CustomerHistory(customer)
    found: list[str] = []
    for number, share in enumerate(steps):
        decider = a_decider(a_play(hold_out=share))
        (decided,) = decider.decide(a_stall(number + 1, customer_id=customer), history, Circumstances(NOON))
        found.append(decided.action.outcome)
    return found


@given(steps=shares, number=st.integers(0, 10_000))
def test_a_customer_stays_in_the_group_of_their_first_assignment(steps: list[float], number: int) -> None:
    customer = f"c-{number}"
    first = "held_out" if is_held_out("win-back", customer, steps[0]) else "decided"
    assert set(outcomes_of(customer, steps)) == {first}


@given(number=st.integers(0, 10_000), share=st.sampled_from([0.1, 0.5, 0.9]))
def test_who_was_treated_while_nothing_was_held_out_is_not_held_out_later(number: int, share: float) -> None:
    assert outcomes_of(f"c-{number}", [0.0, share]) == ["decided", "decided"]


def test_a_hold_out_that_ends_treats_everybody() -> None:
    assert outcomes_of("c-1", [1.0, 0.0]) == ["held_out", "decided"]


@pytest.mark.parametrize("held_out", [True, False])
def test_a_recorded_assignment_wins_over_the_hash_of_another_key(held_out: bool) -> None:
    """As after a merge: the history brings along what was recorded under the old key."""
    for number in range(20):
        history = CustomerHistory(f"c-{number}", assignments={"win-back": held_out})
        (decided,) = a_decider(a_play(hold_out="50%")).decide(
            a_stall(customer_id=history.customer_id), history, Circumstances(NOON)
        )
        assert decided.action.outcome == ("held_out" if held_out else "decided")
        assert decided.action.held_out is held_out
