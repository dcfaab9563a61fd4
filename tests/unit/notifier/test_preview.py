"""Plays over recorded facts."""

from datetime import timedelta
from typing import Any

from making import NOON, a_book, a_decider, a_play, a_stall
from touchline_notifier.core.facts import Fact
from touchline_notifier.core.play import Play
from touchline_notifier.core.preview import Happening, Previewed, preview


def over(facts: list[Fact], *plays: Play, **until: Any) -> list[Previewed]:
    happenings = [Happening(fact, fact.at) for fact in facts]
    end = NOON + timedelta(days=30)
    return preview(a_decider(*plays), happenings, {"c-1": a_book()}, until=end, to_customers=frozenset({"email"}))


def test_every_limit_that_held_an_action_back_is_named() -> None:
    play = a_play(
        action={"channel": "email", "subject": "s", "body": "b"},
        limits={"quiet_hours": {"from": "11:00", "to": "13:00"}},
        delay="1h",
    )
    (found,) = over([a_stall()], play)
    assert [hold.code for hold in found.limits] == ["no_address", "delay", "quiet_hours"]
    assert found.outcome == "held"


def test_what_waits_is_followed_to_its_end() -> None:
    found = over([a_stall()], a_play(limits={"quiet_hours": {"from": "11:00", "to": "13:00"}}))
    assert [(one.at, one.outcome) for one in found] == [(NOON, "held"), (NOON + timedelta(hours=1), "would be sent")]
    assert found[1].text == "Hello c-1"


def test_a_recovery_on_the_way_cancels() -> None:
    recovery = a_stall(2, type="customer-recovered", level=None, at=NOON + timedelta(minutes=30))
    found = over([a_stall(), recovery], a_play(delay="1h"))
    assert [one.outcome for one in found] == ["held", "cancelled"]


def test_caps_count_what_would_have_been_sent_before() -> None:
    later = a_stall(2, at=NOON + timedelta(days=1))
    found = over([a_stall(), later], a_play(limits={"per_play": {"count": 1, "within": "7d"}}))
    assert [one.outcome for one in found] == ["would be sent", "held"]
    assert [hold.code for hold in found[1].limits] == ["capped_play"]
