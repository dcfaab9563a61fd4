"""From a fact and a history to decisions."""

from datetime import timedelta
from typing import Any

from touchline_notifier.core.decisions.customer_history import CustomerHistory
from touchline_notifier.core.decisions.decide import Decider
from touchline_notifier.core.decisions.decided import Decided
from touchline_notifier.core.decisions.matching import matches
from touchline_notifier.core.decisions.stage_events import Fact, LifecyclePosition
from touchline_notifier.core.limits.hold_out import is_held_out
from touchline_notifier.core.limits.limits import Circumstances
from touchline_notifier.core.plays.rendering import Templates
from touchline_schemas.ids import action_id

from tests.support.notifier.builders import NOON, a_decider, a_history, a_move, a_play, a_stall, a_touchpoint

NOW = Circumstances(NOON)

NEVER_BOUGHT: dict[str, Any] = {"if": {"history": [{"type": "purchased", "count": 0}]}}


def take(decider: Decider, fact: Fact, history: CustomerHistory, now: Circumstances = NOW) -> list[Decided]:
    history.positions.setdefault(fact.lifecycle, LifecyclePosition()).apply(fact)
    return list(decider.decide(fact, history, now))


def outcomes(decided: list[Decided]) -> list[tuple[str, str | None]]:
    return [(one.event.outcome, one.action.reason_code) for one in decided if one.event is not None]


def when(**given: Any) -> dict[str, Any]:
    return {"when": {"fact": "stage-changed", **given}}


def test_a_play_looks_at_the_facts_it_names() -> None:
    assert matches(a_play(), a_stall())
    assert not matches(a_play(), a_move())
    assert not matches(a_play(when={"fact": "customer-stalled", "level": 2}), a_stall())
    assert matches(a_play(when={"fact": "customer-stalled", "level": [1, 2]}), a_stall(level=2))
    assert not matches(a_play(when={"fact": "customer-stalled", "lifecycle": "journey"}), a_stall())
    assert not matches(a_play(when={"fact": "customer-stalled", "stage": "reach"}), a_stall())
    assert matches(a_play(**when(move=["regress", "lapse"], stage="reach", from_stage="retention")), a_move())
    assert not matches(a_play(**when(move="advance")), a_move())
    assert not matches(a_play(enabled=False), a_stall())


def test_corrections_concern_those_who_ask_for_them() -> None:
    assert not matches(a_play(**when()), a_move(correction=True))
    assert matches(a_play(**when(), corrections=True), a_move(correction=True))


def test_a_fact_becomes_one_action_with_a_derived_id() -> None:
    (decided,) = take(a_decider(a_play()), a_stall(), a_history())
    assert decided.event is not None
    assert decided.event.action_id == str(action_id("win-back", "fact-1"))
    assert (decided.event.outcome, decided.event.sequence) == ("decided", 1)
    assert decided.rendered is not None
    assert decided.rendered.text == "Hello c-1"


def test_a_fact_seen_twice_acts_once() -> None:
    decider, history = a_decider(a_play()), a_history()
    assert len(list(decider.decide(a_stall(), history, NOW))) == 1
    assert list(decider.decide(a_stall(), history, NOW)) == []


def test_the_higher_priority_takes_the_free_place() -> None:
    limits = {"limits": {"per_customer": {"count": 1, "within": "7d"}}}
    decider = a_decider(a_play("low", **limits), a_play("high", priority=1, **limits))
    decided = take(decider, a_stall(), a_history())
    assert [(one.action.play, one.action.outcome) for one in decided] == [("high", "decided"), ("low", "held")]


def test_the_higher_priority_goes_first_among_those_that_waited() -> None:
    limits = {"limits": {"per_customer": {"count": 1, "within": "7d"}, "max_age": "30d"}, "delay": "1h"}
    decider = a_decider(a_play("low", **limits), a_play("high", priority=1, **limits))
    history = a_history()
    take(decider, a_stall(), history)
    again = list(decider.decide_again(list(history.waiting), history, Circumstances(NOON + timedelta(hours=1))))
    assert [(one.action.play, one.action.outcome) for one in again] == [("high", "decided"), ("low", "held")]
    assert [action.play for action in history.waiting] == ["low"]


def test_an_action_has_the_version_of_the_play_that_decided_it_last() -> None:
    first, second = (
        Decider({"win-back": a_play(delay="1h")}, Templates(), {"win-back": version}) for version in (1, 2)
    )
    history = a_history()
    (waits,) = take(first, a_stall(), history)
    assert waits.action.play_version == 1
    (decided,) = second.decide_again(list(history.waiting), history, Circumstances(NOON + timedelta(hours=1)))
    assert (decided.action.outcome, decided.action.play_version) == ("decided", 2)
    (of_a_file,) = take(a_decider(a_play("other")), a_stall(2), history)
    assert of_a_file.action.play_version == 0


def test_conditions_on_profile_and_history_choose_for_whom() -> None:
    condition: dict[str, Any] = {
        "if": {
            "profile": {"traits.plan": {"in": ["pro"]}, "last.survey_answered.score": {"lte": 6}},
            "history": [{"type": "purchased", "count": {"gte": 2}, "within": "30d"}],
        }
    }
    play = a_play(**condition)
    history = a_history()
    assert take(a_decider(play), a_stall(), history) == []
    history.profile.take(a_touchpoint("identified", properties={"plan": "pro"}))
    history.profile.take(a_touchpoint("survey_answered", ident="s", properties={"score": 6}))
    history.profile.take(a_touchpoint("purchased", NOON - timedelta(days=31), "p-0"))
    history.profile.take(a_touchpoint("purchased", NOON - timedelta(days=29), "p-1"))
    assert take(a_decider(play), a_stall(2), history) == []
    history.profile.take(a_touchpoint("purchased", NOON - timedelta(days=1), "p-2"))
    assert outcomes(take(a_decider(play), a_stall(3), history)) == [("decided", None)]


def test_history_can_ask_for_none() -> None:
    play = a_play(**NEVER_BOUGHT)
    history = a_history()
    assert outcomes(take(a_decider(play), a_stall(), history)) == [("decided", None)]
    history.profile.take(a_touchpoint("purchased"))
    assert take(a_decider(play), a_stall(2), history) == []


def test_a_waiting_action_ends_with_the_recovery() -> None:
    decider, history = a_decider(a_play(delay="1h")), a_history()
    assert outcomes(take(decider, a_stall(), history)) == [("held", "delay")]
    recovery = a_stall(2, type="customer-recovered", level=None)
    assert outcomes(take(decider, recovery, history)) == [("cancelled", "recovered")]
    assert history.waiting == []


def test_a_waiting_action_ends_when_the_customer_moves_on_even_back_again() -> None:
    decider, history = a_decider(a_play(**when(stage="reach"), delay="1h")), a_history()
    assert outcomes(take(decider, a_move(1), history)) == [("held", "delay")]
    away = a_move(2, stage="acquisition", from_stage="reach", move="advance")
    assert outcomes(take(decider, away, history)) == [("cancelled", "moved_on")]
    assert outcomes(take(decider, a_move(3), history)) == [("held", "delay")]


def test_a_second_level_of_the_same_stall_leaves_the_first_action_waiting() -> None:
    decider = a_decider(a_play(when={"fact": "customer-stalled", "level": 1}, delay="1h"))
    history = a_history()
    take(decider, a_stall(), history)
    assert take(decider, a_stall(2, level=2), history) == []
    assert len(history.waiting) == 1


def test_another_lifecycles_facts_change_nothing() -> None:
    decider, history = a_decider(a_play(delay="1h")), a_history()
    take(decider, a_stall(), history)
    assert take(decider, a_move(1, lifecycle="journey", stage="learn"), history) == []
    assert len(history.waiting) == 1


def test_a_play_can_do_without_exits() -> None:
    decider, history = a_decider(a_play(delay="1h", exit=False)), a_history()
    take(decider, a_stall(), history)
    assert take(decider, a_stall(2, type="customer-recovered", level=None), history) == []
    again = list(decider.decide_again(list(history.waiting), history, Circumstances(NOON + timedelta(hours=1))))
    assert outcomes(again) == [("decided", None)]


def test_at_the_windows_end_it_is_decided_again_whether_it_is_still_wanted() -> None:
    play = a_play(
        limits={"quiet_hours": {"from": "11:00", "to": "13:00"}},
        **NEVER_BOUGHT,
    )
    decider, history = a_decider(play), a_history()
    assert outcomes(take(decider, a_stall(), history)) == [("held", "quiet_hours")]
    assert history.waiting[0].decide_at == NOON + timedelta(hours=1)
    history.profile.take(a_touchpoint("purchased"))
    again = list(decider.decide_again(list(history.waiting), history, Circumstances(NOON + timedelta(hours=1))))
    assert outcomes(again) == [("cancelled", "not_concerned")]


def test_held_again_for_the_same_reason_it_says_nothing_new() -> None:
    decider, history = a_decider(a_play()), a_history()
    off = Circumstances(NOON, sending=False)
    assert outcomes(take(decider, a_stall(), history, off)) == [("held", "sending_off")]
    later = Circumstances(NOON + timedelta(minutes=1), sending=False)
    (again,) = decider.decide_again(list(history.waiting), history, later)
    assert again.event is None
    # Nobody decides it again each minute: it waits for the switch, and for its max_age at most.
    assert again.action.decide_at == NOON + timedelta(hours=24)


def test_held_for_longer_for_the_same_reason_its_row_says_until_when() -> None:
    decider = a_decider(a_play(limits={"quiet_hours": {"from": "11:00", "to": "13:00"}, "max_age": "3d"}))
    history = a_history()
    take(decider, a_stall(), history)
    history.profile.take(a_touchpoint(properties={"timezone": "America/New_York"}))
    (waiting,) = history.waiting
    eleven_in_new_york = Circumstances(NOON + timedelta(hours=4))
    (again,) = decider.decide_again([waiting], history, eleven_in_new_york)
    assert again.event is None
    assert again.action.reason == "it is Tuesday 11:00 in America/New_York, waits until 2026-03-03T18:00:00Z"


def test_what_was_held_by_the_switch_goes_when_it_is_on() -> None:
    decider, history = a_decider(a_play()), a_history()
    take(decider, a_stall(), history, Circumstances(NOON, sending=False))
    on = Circumstances(NOON + timedelta(minutes=2))
    (decided,) = decider.decide_again(list(history.waiting), history, on)
    assert decided.event is not None
    assert (decided.event.outcome, decided.event.sequence) == ("decided", 2)


def test_a_play_that_is_gone_cancels_what_waits() -> None:
    history = a_history()
    take(a_decider(a_play(delay="1h")), a_stall(), history)
    gone = list(a_decider().decide_again(list(history.waiting), history, NOW))
    assert outcomes(gone) == [("cancelled", "play_gone")]


def test_a_template_that_asks_for_what_is_not_known_holds_back_and_says_so() -> None:
    play = a_play(action={"channel": "webhook", "endpoint": "crm", "body": "Dear {{ traits.name }}"})
    (decided,) = take(a_decider(play), a_stall(), a_history())
    assert decided.action.reason_code == "template"
    assert "name" in (decided.action.reason or "")


def test_the_held_out_are_always_the_same_and_about_as_many_as_asked() -> None:
    held = [is_held_out("win-back", f"c-{n}", 0.2) for n in range(5000)]
    assert 900 < sum(held) < 1100
    more = [is_held_out("win-back", f"c-{n}", 0.5) for n in range(5000)]
    assert all(wide for narrow, wide in zip(held, more, strict=True) if narrow)
    other = [is_held_out("other", f"c-{n}", 0.2) for n in range(5000)]
    assert 130 < sum(a and b for a, b in zip(held, other, strict=True)) < 270


def test_the_held_out_get_nothing_and_count_for_no_cap() -> None:
    play = a_play(hold_out="100%", limits={"per_customer": {"count": 1, "within": "7d"}})
    history = a_history()
    assert outcomes(take(a_decider(play), a_stall(), history)) == [("held_out", "hold_out")]
    assert outcomes(take(a_decider(play), a_stall(2), history)) == [("held_out", "hold_out")]
    assert history.counted == []
