"""What is asked right before a send: the same limits as at the decision, at any later moment."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_notifier.core.decisions.action import Action
from touchline_notifier.core.decisions.customer_history import ActedStall, Counted, CustomerHistory
from touchline_notifier.core.decisions.decide import precedence
from touchline_notifier.core.delivery.conclusion import Cancelled, Expired
from touchline_notifier.core.limits.limits import Circumstances, hindrances
from touchline_notifier.core.limits.pre_send import Deferred, Pending, Verdict, ask_before_sending
from touchline_notifier.core.plays.play import Play

from tests.support.notifier.builders import NOON, a_decider, a_history, a_play, a_stall

QUIET = {"quiet_hours": {"from": "21:00", "to": "08:00"}, "max_age": "90d"}
MAIL = {"action": {"channel": "email", "endpoint": "mail", "subject": "Hello", "body": "Hello"}}


def decided(play: Play, number: int = 1, **more: Any) -> Action:
    """An action that was decided at noon."""
    (found,) = a_decider(play).decide(a_stall(number, **more), a_history(), Circumstances(NOON))
    assert found.action.outcome == "decided"
    return found.action


def asked(play: Play, action: Action, history: CustomerHistory, now: datetime, **more: Any) -> Verdict:
    given_: dict[str, Any] = {"deadline": action.fact.at + play.max_age, "plays_read_at": NOON, **more}
    return ask_before_sending({play.play: play}, action, history, Circumstances(now), **given_)


@given(minutes=st.integers(0, 80 * 24 * 60))
def test_nothing_leaves_in_quiet_hours_or_on_a_free_day_whenever_it_is_tried(minutes: int) -> None:
    play = a_play(limits={**QUIET, "business_days": True})
    now = NOON + timedelta(minutes=minutes)
    verdict = asked(play, decided(play), a_history(), now)
    quiet = now.hour >= 21 or now.hour < 8 or now.weekday() > 4
    assert (verdict is None) == (not quiet)
    if isinstance(verdict, Deferred):
        assert next(iter(hindrances(play, a_stall(), a_history(), Circumstances(verdict.until))), None) is None


@given(hours=st.integers(0, 200))
def test_nothing_leaves_past_its_age(hours: int) -> None:
    play = a_play(limits={"max_age": "3d"})
    verdict = asked(play, decided(play), a_history(), NOON + timedelta(hours=hours))
    assert isinstance(verdict, Expired) == (hours > 72)


def test_a_replay_goes_however_old_it_is_and_still_not_at_night() -> None:
    play = a_play(limits={**QUIET, "max_age": "1h"})
    action = decided(play)
    assert asked(play, action, a_history(), NOON + timedelta(days=40), deadline=None) is None
    night = asked(play, action, a_history(), NOON + timedelta(days=40, hours=12), deadline=None)
    assert isinstance(night, Deferred)
    assert night.until == NOON + timedelta(days=40, hours=20)


def test_a_play_that_this_process_does_not_know_is_gone_only_if_it_was_decided_before_it_started() -> None:
    play = a_play()
    action = decided(play)
    gone = ask_before_sending({}, action, a_history(), Circumstances(NOON), deadline=None, plays_read_at=NOON)
    assert gone == Cancelled("play_gone", "the play win-back no longer runs")
    newer = ask_before_sending(
        {}, action, a_history(), Circumstances(NOON), deadline=None, plays_read_at=NOON - timedelta(hours=1)
    )
    assert isinstance(newer, Deferred)


@given(
    priorities=st.lists(st.integers(-2, 2), min_size=1, max_size=7),
    count=st.integers(1, 3),
    sent=st.integers(0, 2),
)
def test_of_what_waits_at_once_exactly_as_many_go_as_the_cap_has_left(
    priorities: list[int], count: int, sent: int
) -> None:
    limits = {"per_customer": {"count": count, "within": "7d"}, "max_age": "30d"}
    plays = [a_play(f"play-{n}", priority=priority, limits=limits) for n, priority in enumerate(priorities)]
    actions = [decided(play) for play in plays]
    history = a_history()
    history.counted = [Counted(NOON, "webhook", "another", contact=False)] * sent
    going = []
    for play, action in zip(plays, actions, strict=True):
        pending = [
            Pending(
                Counted(NOON, "webhook", other.play, contact=False),
                first=precedence(other, "c-1") < precedence(action, "c-1"),
            )
            for other in actions
            if other is not action
        ]
        if asked(play, action, history, NOON, pending=pending) is None:
            going.append(action)
    assert len(going) == min(max(count - sent, 0), len(actions))
    rest = [action.priority for action in actions if action not in going]
    assert not going or not rest or min(action.priority for action in going) >= max(rest)


def test_a_webhook_to_a_company_system_uses_up_no_cap_of_the_person() -> None:
    cap = {"limits": {"per_customer": {"count": 1, "within": "7d"}}}
    for more, mailed in (({}, "decided"), ({"contact": True}, "held")):
        crm = a_play("a-crm", priority=5, **more)
        mail = a_play("mail", **MAIL, **cap)
        history = a_history()
        history.profile.values["email"] = ["ada@example.org", 0, "t-1"]
        found = list(a_decider(crm, mail).decide(a_stall(), history, Circumstances(NOON)))
        assert {one.action.play: one.action.outcome for one in found} == {"a-crm": "decided", "mail": mailed}


def test_of_one_priority_no_name_always_wins() -> None:
    limits = {"limits": {"per_customer": {"count": 1, "within": "7d"}}}
    decider = a_decider(a_play("aardvark", **limits), a_play("zebra", **limits))
    first = []
    for number in range(200):
        history = CustomerHistory(f"c-{number}")
        found = list(decider.decide(a_stall(customer_id=history.customer_id), history, Circumstances(NOON)))
        first.append(next(one.action.play for one in found if one.action.outcome == "decided"))
    assert 60 < first.count("aardvark") < 140


@pytest.mark.parametrize(
    ("again", "acts"),
    [({}, False), ({"since": "2026-02-02"}, True), ({"level": 2}, True), ({"stage": "advocacy"}, True)],
)
def test_a_stall_that_dissolved_and_is_reported_again_is_acted_on_once(again: dict[str, Any], acts: bool) -> None:
    def stall(number: int, **more: Any) -> Any:
        since = more.pop("since", "2026-02-01")
        return a_stall(number, data={"since": since}, **more)

    decider, history = a_decider(a_play()), a_history()
    assert len(list(decider.decide(stall(1), history, Circumstances(NOON)))) == 1
    assert len(list(decider.decide(stall(3, **again), history, Circumstances(NOON)))) == int(acts)


def test_one_whose_action_was_cancelled_before_it_was_sent_is_acted_on_again() -> None:
    decider, history = a_decider(a_play(delay="1h")), a_history()
    list(decider.decide(a_stall(1, data={"since": "2026-02-01"}), history, Circumstances(NOON)))
    assert history.acted_stalls == {ActedStall("win-back", "service-cycle", "retention", "2026-02-01", 1)}
    list(decider.cancel_all(history, "recovered", "recovered meanwhile", NOON))
    assert len(list(decider.decide(a_stall(3, data={"since": "2026-02-01"}), history, Circumstances(NOON)))) == 1
