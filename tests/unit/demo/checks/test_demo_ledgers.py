"""The ledgers kept from outside: they notice whatever can't be right."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from touchline_demo.checks.ledgers import ActionLedger, FactLedger, StageLedger, TouchpointLedger
from touchline_demo.checks.summary import Counted, discrepancies, summary
from touchline_schemas.ids import action_id, fact_id, step_action_id

WHEN = "2026-06-01T12:00:00Z"


def touchpoint(identifier: str, source: str = "shop", **more: Any) -> dict[str, Any]:
    return {"id": identifier, "source": source, "customer_id": "c-1", "occurred_at": WHEN} | more


def move(number: int, sequence: int, from_stage: str | None, to_stage: str, **more: Any) -> dict[str, Any]:
    return {
        "customer_id": "c-1", "lifecycle": "l", "incarnation": 0, "fact_no": number, "sequence": sequence,
        "from_stage": from_stage, "to_stage": to_stage, "move": "advance" if from_stage else "enter",
        "reason": {"kind": "rule"}, "backfill": False,
    } | more  # fmt: skip


def fact(number: int) -> str:
    return str(fact_id("c-1", "l", 0, number))


def facts(*moves: dict[str, Any]) -> FactLedger:
    ledger = FactLedger()
    for one in moves:
        ledger.add(fact(one["fact_no"]), "touchline.stage-changed", one)
    return ledger


def action(outcome: str, sequence: int = 1, fact_no: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "action_id": str(action_id("p", fact(fact_no))), "play": "p", "fact_id": fact(fact_no), "customer_id": "c-1",
        "outcome": outcome, "reason": None, "sequence": sequence,
    } | more  # fmt: skip


def sound() -> Counted:
    touchpoints = TouchpointLedger()
    for one in (touchpoint("1"), touchpoint("2"), touchpoint("2"), touchpoint("r", source="notifier")):
        touchpoints.add(one)
    actions = ActionLedger()
    actions.add("e1", action("decided"))
    actions.add("e2", action("sent", 2))
    announced = facts(move(1, 1, None, "a"), move(2, 2, "a", "b"))
    stages = StageLedger({("c-1", "l"): {"stage": "b", "sequence": 2}})
    return Counted(
        accepted=4, rejected=1, touchpoints=touchpoints, facts=announced, stages=stages, actions=actions, folded=2,
        reports_folded=1, erased=0, dead_letters=1, rejected_by_endpoints=1, lag={"engine": 0, "notifier": 0},
        received={action("sent")["action_id"]: 1}, badly_signed=0, inbox={"mails": 1}, customers_known=1,
    )  # fmt: skip


def test_sound_ledgers_have_no_faults() -> None:
    assert discrepancies(sound()) == []


def test_the_summary_holds_what_was_counted() -> None:
    announced = summary(sound())
    assert announced["touchpoints_accepted"] == 4
    assert announced["touchpoints_folded"] == 2
    assert announced["duplicates"] == 1
    assert announced["dead_letters"] == 1
    assert announced["moves"] == {"advance": 1, "enter": 1}
    assert announced["actions"] == {"sent": 1}
    assert announced["lag"] == 0


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda ledgers: replace(ledgers, folded=1), "accepted, but 1 folded"),
        (lambda ledgers: replace(ledgers, folded=3), "accepted, but 3 folded"),
        (lambda ledgers: replace(ledgers, accepted=5, folded=3), "the topic holds 3"),
        (lambda ledgers: replace(ledgers, reports_folded=0), "reported 1 deliveries, but 0"),
        (lambda ledgers: replace(ledgers, lag={"engine": 3}), "engine has 3 records to go"),
        (lambda ledgers: replace(ledgers, facts=facts(move(2, 2, "a", "b"))), "fact 2 came where 1 was due"),
        (lambda ledgers: replace(ledgers, facts=FactLedger()), "is on no topic"),
        (lambda ledgers: replace(ledgers, stages=StageLedger()), "the compacted topic says None"),
        (lambda ledgers: replace(ledgers, received={}), "nothing arrived"),
        (lambda ledgers: replace(ledgers, received=ledgers.received | {"other": 1}), "no such action was published"),
        (lambda ledgers: replace(ledgers, badly_signed=1), "doesn't verify"),
        (lambda ledgers: replace(ledgers, samples_wrong=["c-9 is missing"]), "c-9 is missing"),
    ],
)
def test_whatever_does_not_add_up_is_said(spoil: Callable[[Counted], Counted], word: str) -> None:
    found = discrepancies(spoil(sound()))
    assert any(word in fault for fault in found), found


@pytest.mark.parametrize(("source", "foreign"), [("mine", 1), ("shop", 0), ("history", 0), ("notifier", 0)])
def test_what_a_visitor_posts_is_counted_apart(source: str, foreign: int) -> None:
    ledger = TouchpointLedger()
    for one in (touchpoint("1"), touchpoint("2", source=source)):
        ledger.add(one)
    assert ledger.of_visitors == foreign
    assert ledger.published == (1 if source == "notifier" else 2)


def test_a_fact_published_twice_is_a_fault() -> None:
    ledger = facts(move(1, 1, None, "a"), move(1, 1, None, "a"))
    assert ledger.complaints == [f"fact {fact(1)} of c-1 was published twice"]
    assert ledger.moves == {"enter": 1}


def test_a_gap_or_a_jump_between_moves_is_a_fault() -> None:
    ledger = facts(move(1, 1, None, "a"), move(2, 3, "b", "c"))
    assert "move 3 came where 2 was due" in ledger.complaints[0]
    assert "leaves b, but a was entered" in ledger.complaints[1]


def test_a_new_incarnation_begins_anew() -> None:
    ledger = facts(move(1, 1, None, "a"))
    ledger.add("e", "touchline.customer-erased", {"customer_id": "c-1", "incarnation": 0})
    ledger.add("n", "touchline.stage-changed", move(1, 1, None, "a", incarnation=1))
    assert ledger.complaints == []
    assert ledger.stages == {("c-1", "l"): ("a", 1)}


def test_an_action_on_a_fact_of_the_past_is_a_fault() -> None:
    ledger = ActionLedger()
    ledger.add("e1", action("sent"))
    past = facts(move(1, 1, None, "a", backfill=True))
    assert ["acts on a fact of the past" in fault for fault in ledger.disagreements(past)] == [True]


def test_an_action_sent_twice_or_under_a_foreign_id_is_a_fault() -> None:
    ledger = ActionLedger()
    ledger.add("e1", action("sent"))
    ledger.add("e2", action("sent", 2))
    ledger.add("e3", action("sent", action_id="foreign"))
    found = ledger.disagreements(facts(move(1, 1, None, "a")))
    assert any("was sent 2 times" in fault for fault in found)
    assert any("action foreign is not what play p and its fact make" in fault for fault in found)


def test_the_id_of_a_step_of_a_sequence_follows_from_its_run_and_step() -> None:
    run = action_id("p", fact(1))
    ledger = ActionLedger()
    ledger.add("e1", action("sent", action_id=str(step_action_id(run, "2")), step="2"))
    ledger.add("e2", action("held", action_id=str(step_action_id(run, "3")), step="3"))
    assert ledger.disagreements(facts(move(1, 1, None, "a"))) == []
    ledger.add("e3", action("held", action_id=str(step_action_id(run, "3.then.1")), step="4"))
    assert any("is not what play p" in fault for fault in ledger.disagreements(facts(move(1, 1, None, "a"))))


def test_tombstones_forget() -> None:
    ledger = StageLedger()
    ledger.add("c-1/l", {"stage": "a", "sequence": 1})
    ledger.add("c-1/l", None)
    assert ledger.stages == {}


def test_what_the_last_word_on_an_action_was_counts_as_its_outcome() -> None:
    ledger = ActionLedger()
    ledger.add("e1", action("held", reason="quiet hours"))
    ledger.add("e2", action("sent", 2))
    ledger.add("e3", action("held", fact_no=2, reason="capped"))
    assert ledger.outcomes == {"sent": 1, "held": 1}
    assert ledger.reasons == {"held: capped": 1}
