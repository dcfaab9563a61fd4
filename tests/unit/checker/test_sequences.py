"""Plays of several steps: one action for each step of a run, under ids that follow from fact and step."""

from datetime import UTC, datetime
from typing import Any

import pytest
from touchline_checker.check import check
from touchline_checker.evidence import Evidence, Record
from touchline_checker.findings import Kind
from touchline_schemas.ids import action_id, step_action_id

from tests.support.checker.memory_evidence import clean_evidence
from tests.support.engine.expected import now_micros
from tests.support.engine.world import touchpoint

WELCOME = {
    "play": "welcome",
    "when": {"fact": "stage-changed", "lifecycle": "trial"},
    "steps": [{"wait": "1d"}, {"send": {"channel": "webhook"}}, {"send": {"channel": "webhook"}}],
}


def evidence() -> Evidence:
    made = clean_evidence([touchpoint("t1", datetime(2026, 1, 1, tzinfo=UTC), customer_id="c1")], now_micros())
    made.plays = [*made.plays, WELCOME]
    return made


def add(made: Evidence, of_step: str, **changed: Any) -> None:
    fact = made.topics["stage-changes"][0]
    run = action_id("welcome", fact.headers["ce_id"])
    data = {
        "action_id": str(step_action_id(run, of_step)), "run_id": str(run), "step": of_step, "play": "welcome",
        "fact_id": fact.headers["ce_id"], "customer_id": fact.data["customer_id"], "lifecycle": "trial",
        "channel": "webhook", "outcome": "held", "reason": "cap", "decided_at": fact.data["decided_at"], "sequence": 1,
    } | changed  # fmt: skip
    events = made.topics["retention-actions"]
    events.append(Record(fact.partition, len(events), "c1", {"ce_id": f"{data['action_id']}-1"}, data))
    made.tables["actions"].append({name: data[name] for name in ("action_id", "play", "fact_id", "outcome")})


def found(made: Evidence) -> set[Kind]:
    return {one.kind for one in check(made).findings}


def test_each_step_has_an_action_of_its_own() -> None:
    made = evidence()
    add(made, "2")
    add(made, "3")
    assert found(made) == set()


def test_two_actions_of_one_step_are_found() -> None:
    made = evidence()
    add(made, "2")
    add(made, "2", action_id="0b0e6f5e-6f0a-4f56-9a51-6b3f7a1c9f00")
    assert found(made) == {Kind.ACTION_REPEATED, Kind.ACTION_EVENTS_WRONG}


@pytest.mark.parametrize("step", ["3", None])
def test_an_id_of_another_step_is_found(step: str | None) -> None:
    made = evidence()
    add(made, "2", step=step)
    assert found(made) == {Kind.ACTION_EVENTS_WRONG}
