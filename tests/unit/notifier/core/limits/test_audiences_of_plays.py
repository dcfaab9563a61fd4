"""A play for the members of an audience: who is one, who may still become one, and who is not."""

from datetime import timedelta

import pytest
from touchline_notifier.core.decisions.customer_history import CustomerHistory
from touchline_notifier.core.limits.limits import AUDIENCE_SETTLING, Circumstances
from touchline_notifier.core.plays.play import Play
from touchline_schemas.times import to_wire

from tests.support.notifier.builders import NOON, a_decider, a_history, a_play, a_stall

LATE = timedelta(seconds=30)


def decided(play: Play, history: CustomerHistory, after: timedelta = timedelta(0)) -> list[tuple[str, str | None]]:
    """Outcomes and reasons of a stall that the engine decided on half a minute after it was due."""
    fact = a_stall(data={"decided_at": to_wire(NOON + LATE)})
    found = a_decider(play).decide(fact, history, Circumstances(NOON + LATE + after))
    return [(one.action.outcome, one.action.reason_code) for one in found]


def test_a_member_gets_it_and_nobody_else() -> None:
    play = a_play(audience="big-buyers")
    member, other = a_history(), a_history()
    member.audiences, other.audiences = {"big-buyers", "x"}, {"x"}
    assert decided(play, member) == [("decided", None)]
    assert decided(play, other, AUDIENCE_SETTLING) == [("held", "not_in_audience")]
    assert other.waiting == []
    assert decided(a_play(), a_history()) == [("decided", None)], "a play without one is for everybody"


def test_whoever_may_still_become_a_member_waits_and_is_asked_again() -> None:
    play, history = a_play(audience="big-buyers"), a_history()
    decider, fact = a_decider(play), a_stall(data={"decided_at": to_wire(NOON + LATE)})
    (waiting,) = decider.decide(fact, history, Circumstances(NOON + LATE))
    assert (waiting.action.reason_code, waiting.action.decide_at) == (
        "not_in_audience",
        NOON + LATE + AUDIENCE_SETTLING,
    )
    history.audiences = {"big-buyers"}
    (again,) = decider.decide_again([waiting.action], history, Circumstances(NOON + LATE + AUDIENCE_SETTLING))
    assert again.action.outcome == "decided"


def test_who_left_before_the_delay_was_over_gets_nothing() -> None:
    play, history = a_play(audience="big-buyers", delay="1h"), a_history()
    history.audiences = {"big-buyers"}
    decider = a_decider(play)
    (waiting,) = decider.decide(a_stall(), history, Circumstances(NOON))
    history.audiences = set()
    (again,) = decider.decide_again([waiting.action], history, Circumstances(NOON + timedelta(hours=1)))
    assert (again.action.outcome, again.action.reason_code, again.action.decide_at) == ("held", "not_in_audience", None)


@pytest.mark.parametrize("name", ["", "Big Buyers", "-x", "x" * 61])
def test_what_is_no_name_of_an_audience_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="audience"):
        a_play(audience=name)
