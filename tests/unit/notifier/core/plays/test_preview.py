"""Plays over recorded facts."""

from datetime import timedelta
from typing import Any

import pytest
from touchline_notifier.core.decisions.stage_events import Fact
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.plays.preview import Previewed, RecordedFact, as_if_live, conclusions, preview, totals

from tests.support.notifier.builders import NOON, a_decider, a_history, a_play, a_stall


def over(facts: list[Fact], *plays: Play, **until: Any) -> list[Previewed]:
    recorded_facts = [RecordedFact(fact, fact.at) for fact in facts]
    end = NOON + timedelta(days=30)
    return preview(
        a_decider(*plays), recorded_facts, {"c-1": a_history()}, until=end, to_customers=frozenset({"email"})
    )


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
    assert [(one.at, one.outcome) for one in found] == [(NOON, "held"), (NOON + timedelta(hours=1), "would_be_sent")]
    assert found[1].text == "Hello c-1"


def test_an_action_that_waited_is_concluded_once_with_what_it_waited_for() -> None:
    later = a_stall(2, at=NOON + timedelta(minutes=1), level=2)
    found = over([a_stall(), later], a_play(delay="1h", limits={"quiet_hours": {"from": "12:30", "to": "14:00"}}))
    concluded = conclusions(found)
    assert len(concluded) == len({one.action_id for one in found}) == 2
    for one in concluded:
        assert (one.last.at, one.last.outcome) == (NOON + timedelta(hours=2), "would_be_sent")
        (step,) = one.waited
        assert (step.outcome, (step.reason or "").partition(":")[0]) == ("held", "delay")


def test_a_recovery_on_the_way_cancels() -> None:
    recovery = a_stall(2, type="customer-recovered", level=None, at=NOON + timedelta(minutes=30))
    found = over([a_stall(), recovery], a_play(delay="1h"))
    assert [one.outcome for one in found] == ["held", "cancelled"]


def test_caps_count_what_would_have_been_sent_before() -> None:
    later = a_stall(2, at=NOON + timedelta(days=1))
    found = over([a_stall(), later], a_play(limits={"per_play": {"count": 1, "within": "7d"}}))
    assert [one.outcome for one in found] == ["would_be_sent", "held"]
    assert [hold.code for hold in found[1].limits] == ["capped_play"]


def test_imported_history_is_previewed_as_if_it_had_just_happened_and_summed_up_by_reason() -> None:
    # Known today, true long ago: as an import leaves them.
    old = [a_stall(number, at=NOON - timedelta(days=400 - number), backfill=True) for number in (1, 2, 3)]
    recorded_facts = [RecordedFact(fact, NOON) for fact in old]
    play = a_play(limits={"per_play": {"count": 2, "within": "7d"}, "when_capped": "drop"})

    def previewed(given: list[RecordedFact]) -> list[Previewed]:
        until = NOON + timedelta(days=30)
        return preview(a_decider(play), given, {"c-1": a_history()}, until=until, to_customers=frozenset())

    assert totals(previewed(recorded_facts)) == [("held", "backfill", 3)]
    found = previewed(as_if_live(recorded_facts))
    assert totals(found) == [("would_be_sent", "", 2), ("held", "capped_play", 1)]
    assert [one.at for one in found] == [fact.at for fact in old]
    assert found[0].text == "Hello c-1"
    live = RecordedFact(a_stall(9), NOON)
    assert as_if_live([live]) == [live]


@pytest.mark.parametrize("days", [1, 3, 400])
@pytest.mark.parametrize("backfill", [True, False])
def test_a_fact_of_imported_history_belongs_to_the_day_on_which_it_became_true(days: int, backfill: bool) -> None:
    known = NOON + timedelta(days=days)
    recorded = RecordedFact(a_stall(backfill=backfill), known)
    day = NOON.replace(hour=0)
    assert recorded.belongs_to(day, day + timedelta(days=1)) is backfill
    assert recorded.belongs_to(known, known + timedelta(days=1))
    assert not recorded.belongs_to(day - timedelta(days=1), day)
