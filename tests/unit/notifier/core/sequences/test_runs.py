"""How runs of sequences begin, go on and end."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from touchline_notifier.core.decisions.customer_history import CustomerHistory
from touchline_notifier.core.limits.hold_out import is_held_out
from touchline_schemas.ids import step_action_id

from tests.support.notifier.builders import NOON, a_move, a_stall, a_touchpoint
from tests.support.notifier.sequences import Company, a_message, a_sequence, actions_of

DAY = timedelta(days=1)
WELCOME, NUDGE, CALL = a_message("Welcome"), a_message("Nudge"), a_message("Call")
BRANCHED = (
    WELCOME,
    {"wait_until": {"touchpoint": ["demo_booked"], "within": "5d"}},
    {"branch": {"on": "happened", "then": [a_message("Thanks")], "else": [{"wait": "1d"}, CALL]}},
    a_message("Last"),
)


def test_messages_are_sent_after_each_other_with_the_waits_between_them() -> None:
    company = Company([a_sequence(WELCOME, {"wait": "3d"}, NUDGE, {"wait": "2d"}, CALL)])
    company.fact(a_move())
    company.run_until(NOON + 30 * DAY)
    assert company.sent == [("1", NOON), ("3", NOON + 3 * DAY), ("5", NOON + 5 * DAY)]
    assert company.end() == "completed"


def test_a_steps_action_has_an_id_of_the_run_and_the_step() -> None:
    company = Company([a_sequence(WELCOME, {"wait": "3d"}, NUDGE)])
    company.fact(a_move())
    company.run_until(NOON + 30 * DAY)
    assert [one.action_id for one in actions_of(company)] == [
        str(step_action_id(company.run.run_id, step)) for step in ("1", "3")
    ]


@pytest.mark.parametrize(
    ("booked", "steps", "times"),
    [
        (NOON + 2 * DAY, ["1", "3.then.1", "4"], [0, 2, 2]),
        (NOON + 6 * DAY, ["1", "3.else.2", "4"], [0, 6, 6]),
        (None, ["1", "3.else.2", "4"], [0, 6, 6]),
    ],
    ids=["in time", "too late", "never"],
)
def test_a_branch_leads_on_by_the_outcome_of_the_wait(
    booked: datetime | None, steps: list[str], times: list[int]
) -> None:
    company = Company([a_sequence(*BRANCHED)])
    company.fact(a_move())
    if booked is not None:
        company.run_until(booked)
        company.touchpoint(a_touchpoint("demo_booked", booked))
    company.run_until(NOON + 30 * DAY)
    assert company.steps == steps
    assert [(at - NOON).days for _, at in company.sent] == times


def test_a_touchpoint_counts_by_its_time_and_not_by_its_arrival() -> None:
    company = Company([a_sequence(*BRANCHED)])
    company.fact(a_move())
    company.run_until(NOON + DAY)
    early = a_touchpoint("demo_booked", NOON - timedelta(minutes=1), "t-0")
    company.touchpoint(early, NOON + DAY)
    company.run_until(NOON + 2 * DAY)
    assert company.run.step == "2"
    # It is read after the time of the wait is over, and before anything followed from that.
    late = NOON + 5 * DAY + timedelta(hours=2)
    company.touchpoint(a_touchpoint("demo_booked", NOON + 4.5 * DAY, "t-1"), late)
    company.wake([company.run.run_id], late)
    company.run_until(NOON + 30 * DAY)
    assert company.steps == ["1", "3.then.1", "4"]


def test_what_the_customer_did_before_the_notifier_read_the_fact_counts() -> None:
    company = Company([a_sequence({"wait_until": {"touchpoint": "demo_booked", "within": "5d"}}, *BRANCHED[2:])])
    company.touchpoint(a_touchpoint("demo_booked", NOON + timedelta(hours=1)))
    company.fact(a_move(), NOON + timedelta(hours=2))
    company.run_until(NOON + DAY)
    assert company.steps == ["2.then.1", "3"]


@pytest.mark.parametrize(("score", "step"), [(9, "2.then.1"), (3, "2.else.1")])
def test_where_asks_for_the_touchpoints_properties(score: int, step: str) -> None:
    wait = {"touchpoint": ["survey_answered"], "where": {"properties.score": {"gte": 8}}, "within": "5d"}
    branch = {"on": "happened", "then": [a_message("Thanks")], "else": [CALL]}
    company = Company([a_sequence({"wait_until": wait}, {"branch": branch})])
    company.fact(a_move())
    company.touchpoint(a_touchpoint("survey_answered", NOON + DAY, properties={"score": score}))
    company.run_until(NOON + 30 * DAY)
    assert company.steps == [step]


def test_a_branch_leads_on_by_what_is_known_of_the_customer_then() -> None:
    branch = {"on": {"profile": {"traits.plan": "pro"}}, "then": [a_message("Pro")], "else": [a_message("Free")]}
    company = Company([a_sequence({"wait": "1d"}, {"branch": branch})])
    company.fact(a_move())
    company.touchpoint(a_touchpoint("identified", NOON + timedelta(hours=1), properties={"plan": "pro"}))
    company.run_until(NOON + 2 * DAY)
    assert company.steps == ["2.then.1"]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ([a_move(2, stage="retention")], "moved_on"),
        ([a_touchpoint("purchased", NOON + DAY)], "converted"),
    ],
)
def test_a_run_ends_with_a_move_and_with_the_goal(given: list[Any], code: str) -> None:
    company = Company([a_sequence(WELCOME, {"wait": "3d"}, NUDGE, goal={"when": ["purchased"], "within": "30d"})])
    company.fact(a_move())
    company.run_until(NOON + DAY)
    for one in given:
        company.fact(one, NOON + DAY) if hasattr(one, "fact_no") else company.touchpoint(one)
    company.run_until(NOON + 30 * DAY)
    assert (company.steps, company.end()) == (["1"], code)


def test_a_goal_that_the_play_does_not_name_ends_nothing() -> None:
    company = Company([a_sequence(WELCOME, {"wait": "3d"}, NUDGE)])
    company.fact(a_move())
    company.touchpoint(a_touchpoint("purchased", NOON + DAY))
    company.run_until(NOON + 30 * DAY)
    assert company.end() == "completed"


@pytest.mark.parametrize(("leaves", "code", "steps"), [(True, "recovered", ["1"]), (False, "completed", ["1", "3"])])
def test_a_recovery_ends_a_run_unless_the_play_says_otherwise(leaves: bool, code: str, steps: list[str]) -> None:
    play = a_sequence(WELCOME, {"wait": "3d"}, NUDGE, when={"fact": "customer-stalled"}, exit=leaves)
    company = Company([play])
    company.fact(a_stall())
    company.fact(a_stall(2, type="customer-recovered", level=None), NOON + DAY)
    company.run_until(NOON + 30 * DAY)
    assert (company.end(), company.steps) == (code, steps)


def test_an_awaited_move_does_not_end_the_run_and_the_next_one_does() -> None:
    steps = (
        {"wait_until": {"move": "advance", "within": "5d"}},
        {"branch": {"on": "happened", "then": [a_message("Well done"), {"wait": "3d"}, CALL]}},
    )
    company = Company([a_sequence(*steps)])
    company.fact(a_move())
    company.fact(a_move(2, move="advance", stage="acquisition", at=NOON + DAY))
    company.run_until(NOON + 2 * DAY)
    assert company.steps == ["2.then.1"]
    company.fact(a_move(3, move="advance", stage="conversion", at=NOON + 2 * DAY))
    company.run_until(NOON + 30 * DAY)
    assert (company.steps, company.end()) == (["2.then.1"], "moved_on")


def test_a_run_that_began_goes_on_under_its_own_version() -> None:
    company = Company([a_sequence(WELCOME, {"wait": "3d"}, NUDGE)])
    company.fact(a_move())
    company.publish(a_sequence(a_message("Hello"), WELCOME, {"wait": "1d"}, CALL))
    company.run_until(NOON + 30 * DAY)
    texts = [one.rendered.subject for one in company.decisions if one.rendered is not None]
    assert texts == ["Welcome", "Nudge"]


@pytest.mark.parametrize("gone", [True, False])
def test_a_run_ends_at_its_next_step_when_its_play_is_withdrawn_or_switched_off(gone: bool) -> None:
    play = a_sequence(WELCOME, {"wait": "3d"}, NUDGE)
    company = Company([play])
    company.fact(a_move())
    company.publish(*(() if gone else (play.model_copy(update={"enabled": False}),)))
    company.run_until(NOON + 30 * DAY)
    assert (company.steps, company.end()) == (["1"], "play_gone")


def test_a_person_has_one_run_of_a_play() -> None:
    company = Company([a_sequence(WELCOME, {"wait": "3d"}, NUDGE, exit=False)])
    company.fact(a_move())
    company.fact(a_move(2, at=NOON + DAY))
    company.run_until(NOON + 2 * DAY)
    assert len(company.history.runs) == 1
    company.run_until(NOON + 5 * DAY)
    company.fact(a_move(3, at=NOON + 6 * DAY))
    assert len(company.history.runs) == 2


def test_of_two_runs_that_a_merge_brings_together_the_earlier_one_goes_on() -> None:
    play = a_sequence(WELCOME, {"wait": "3d"}, NUDGE, exit=False)
    one, other = Company([play]), Company([play], CustomerHistory("anon:1"))
    one.fact(a_move())
    other.fact(a_move(1, id="fact-9", customer_id="anon:1", at=NOON + DAY))
    one.run_until(NOON + 2 * DAY)
    other.run_until(NOON + 2 * DAY)
    merged = other.run
    merged.customer_id = "c-1"
    one.history.runs.append(merged)
    one.wake([merged.run_id], NOON + 2 * DAY)
    assert merged.ended is not None
    assert merged.ended.code == "merged"
    one.run_until(NOON + 30 * DAY)
    assert one.steps == ["1", "3"]


@pytest.mark.parametrize("held_out", [True, False])
def test_the_control_group_is_asked_for_once_when_the_run_begins(held_out: bool) -> None:
    name = next(f"play-{n}" for n in range(100) if is_held_out(f"play-{n}", "c-1", 0.5) is held_out)
    company = Company([a_sequence({"wait": "1d"}, WELCOME, {"wait": "3d"}, NUDGE, name=name, hold_out=0.5)])
    company.fact(a_move())
    assert company.history.assignments == {name: held_out}
    company.publish(a_sequence({"wait": "1d"}, WELCOME, {"wait": "3d"}, NUDGE, name=name, hold_out=1 - held_out))
    company.run_until(NOON + 30 * DAY)
    assert company.steps == ([] if held_out else ["2", "4"])
    outcomes = [one.event.outcome for one in company.decisions if one.event is not None]
    assert outcomes == (["held_out"] if held_out else ["decided", "decided"])


def test_a_message_waits_for_quiet_hours_and_the_next_wait_counts_from_its_delivery() -> None:
    limits = {"quiet_hours": {"from": "11:00", "to": "18:00"}}
    company = Company([a_sequence(WELCOME, {"wait": "1d"}, NUDGE, limits=limits)])
    company.fact(a_move())
    company.run_until(NOON + 5 * DAY)
    evening = NOON + timedelta(hours=6)
    assert company.sent == [("1", evening), ("3", evening + DAY)]


def test_a_run_waits_for_the_delivery_of_its_message() -> None:
    company = Company([a_sequence(WELCOME, NUDGE)], deliver=False)
    company.fact(a_move())
    company.run_until(NOON + timedelta(hours=5))
    assert company.steps == ["1"]
    company.deliver_now(company.run, NOON + timedelta(hours=5), "failed", "delivery_failed")
    company.run_until(NOON + timedelta(hours=6))
    assert company.steps == ["1", "2"]


@pytest.mark.parametrize(
    ("outcome", "code", "goes_on"),
    [
        ("held", "no_consent", False),
        ("held", "suppressed", False),
        ("held", "template", True),
        ("cancelled", "too_old", True),
        ("cancelled", "not_concerned", False),
    ],
)
def test_a_message_that_is_not_sent_ends_the_run_where_the_customer_does_not_want_it(
    outcome: str, code: str, goes_on: bool
) -> None:
    company = Company([a_sequence(WELCOME, {"wait": "1d"}, NUDGE)], deliver=False)
    company.fact(a_move())
    company.deliver_now(company.run, NOON + timedelta(hours=1), outcome, code)
    company.run_until(NOON + 30 * DAY)
    assert company.steps == (["1", "3"] if goes_on else ["1"])
    assert company.run.visits["1"].result == code
    if not goes_on:
        assert company.end() == code


def test_a_refusal_ends_the_run_before_the_message() -> None:
    company = Company([a_sequence({"wait": "1d"}, a_message("A", channel="email", endpoint="mail", body="B"), NUDGE)])
    company.fact(a_move())
    company.touchpoint(a_touchpoint("identified", NOON, properties={"email": "ada@example.org"}))
    company.touchpoint(a_touchpoint("unsubscribed", NOON, "t-2", email="ada@example.org", channel="email"))
    company.run_until(NOON + 30 * DAY)
    assert (company.steps, company.end()) == ([], "no_consent")


def test_what_became_due_during_an_outage_is_too_old_and_is_skipped() -> None:
    company = Company([a_sequence(WELCOME, {"wait": "3d"}, NUDGE, {"wait": "1d"}, CALL)])
    company.fact(a_move())
    company.wake([company.run.run_id], NOON + timedelta(seconds=1))
    company.wake([company.run.run_id], NOON + 6 * DAY)
    assert company.run.visits["3"].result == "too_old"
    company.run_until(NOON + 30 * DAY)
    assert company.sent == [("1", NOON), ("5", NOON + 7 * DAY)]


def test_no_run_begins_on_imported_history_or_an_old_fact() -> None:
    for fact, at in ((a_move(backfill=True), NOON), (a_move(), NOON + 2 * DAY)):
        company = Company([a_sequence(WELCOME, {"wait": "3d"}, NUDGE)])
        company.fact(fact, at)
        assert company.history.runs == []
        (decided,) = company.decisions
        assert decided.action.reason_code == ("backfill" if fact.backfill else "too_old")


def test_conditions_are_asked_again_at_every_message() -> None:
    conditions: dict[str, Any] = {"if": {"history": [{"type": "cancelled", "count": 0}]}}
    play = a_sequence(WELCOME, {"wait": "3d"}, NUDGE, **conditions)
    company = Company([play])
    company.fact(a_move())
    company.run_until(NOON + DAY)
    company.touchpoint(a_touchpoint("cancelled", NOON + DAY))
    company.run_until(NOON + 30 * DAY)
    assert (company.steps, company.end()) == (["1"], "not_concerned")
