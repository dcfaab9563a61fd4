"""Faults in actions and their events: without a fact, missing, repeated, not published, or unfinished."""

from dataclasses import replace
from random import Random

from touchline_checker.evidence import Evidence, Record
from touchline_checker.findings import Kind
from touchline_schemas.ids import action_id

from tests.support.checker.planted_faults.planting import changed, choose, fault


def _action(evidence: Evidence, rng: Random) -> Record | None:
    found: Record | None = choose(rng, evidence.topics["retention-actions"])
    return found


@fault
def an_action_has_no_fact(evidence: Evidence, rng: Random) -> set[Kind] | None:
    identifier = str(action_id("call", "no-fact"))
    data = {"action_id": identifier, "play": "call", "fact_id": "no-fact", "customer_id": "c0", "lifecycle": "trial",
            "outcome": "held", "decided_at": "2026-01-01T00:00:00Z", "sequence": 1}  # fmt: skip
    evidence.topics["retention-actions"].append(Record(0, 10**6, "c0", {"ce_id": "x"}, data))
    evidence.tables["actions"].append({"action_id": identifier, "outcome": "held"})
    return {Kind.ACTION_WITHOUT_FACT}


@fault
def two_actions_were_taken_for_one_fact(evidence: Evidence, rng: Random) -> set[Kind] | None:
    record = _action(evidence, rng)
    if record is None:
        return None
    another = changed(record, action_id="another-action", sequence=1)
    evidence.topics["retention-actions"].append(replace(another, headers={"ce_id": "another"}))
    return {Kind.ACTION_REPEATED}


@fault
def an_action_was_sent_twice(evidence: Evidence, rng: Random) -> set[Kind] | None:
    record = _action(evidence, rng)
    if record is None:
        return None
    again = changed(record, outcome="sent", sequence=3)
    evidence.topics["retention-actions"].append(replace(again, headers={"ce_id": "again"}))
    return {Kind.ACTION_REPEATED}


@fault
def no_action_was_taken_for_a_fact(evidence: Evidence, rng: Random) -> set[Kind] | None:
    record = _action(evidence, rng)
    if record is None:
        return None
    gone = record.data["action_id"]
    kept = [one for one in evidence.topics["retention-actions"] if one.data["action_id"] != gone]
    evidence.topics["retention-actions"] = kept
    evidence.tables["actions"] = [row for row in evidence.tables["actions"] if row["action_id"] != gone]
    evidence.received = [one for one in evidence.received or () if one.action_id != gone]
    return {Kind.ACTION_MISSING}


@fault
def an_event_of_an_action_is_missing(evidence: Evidence, rng: Random) -> set[Kind] | None:
    events = evidence.topics["retention-actions"]
    decided = [index for index, one in enumerate(events) if one.data["outcome"] == "decided"]
    index = choose(rng, decided)
    if index is None:
        return None
    del events[index]
    return {Kind.ACTION_EVENTS_WRONG}


@fault
def an_event_of_an_action_was_published_twice(evidence: Evidence, rng: Random) -> set[Kind] | None:
    record = _action(evidence, rng)
    if record is None:
        return None
    evidence.topics["retention-actions"].append(record)
    return {Kind.ACTION_EVENTS_WRONG}


@fault
def the_end_of_an_action_was_not_published(evidence: Evidence, rng: Random) -> set[Kind] | None:
    events = evidence.topics["retention-actions"]
    sent = [index for index, one in enumerate(events) if one.data["outcome"] == "sent"]
    index = choose(rng, sent)
    if index is None:
        return None
    del events[index]
    return {Kind.ACTION_NOT_PUBLISHED}


@fault
def an_action_has_no_end(evidence: Evidence, rng: Random) -> set[Kind] | None:
    if not evidence.tables["actions"]:
        return None
    index = rng.randrange(len(evidence.tables["actions"]))
    row = evidence.tables["actions"][index]
    evidence.tables["actions"][index] = {**row, "outcome": "decided"}
    return {Kind.ACTION_UNFINISHED}
