"""Faults in touchpoints: lost, altered, misfiled, not folded, folded twice."""

from dataclasses import replace
from random import Random

from touchline_checker.evidence import Evidence, Record
from touchline_checker.findings import Kind

from tests.support.checker.planted_faults.planting import fault


@fault
def an_accepted_touchpoint_is_on_no_topic(evidence: Evidence, rng: Random) -> set[Kind] | None:
    lost = rng.choice(evidence.accepted)
    evidence.accepted.append({**lost, "id": "lost"})
    return {Kind.TOUCHPOINT_LOST}


@fault
def a_touchpoint_was_published_with_another_content(evidence: Evidence, rng: Random) -> set[Kind] | None:
    index = rng.randrange(len(evidence.accepted))
    evidence.accepted[index] = {**evidence.accepted[index], "properties": {"another": "content"}}
    return {Kind.TOUCHPOINT_ALTERED}


@fault
def a_touchpoint_was_not_folded(evidence: Evidence, rng: Random) -> set[Kind] | None:
    evidence.tables["touchpoints"].remove(rng.choice(evidence.tables["touchpoints"]))
    return {Kind.TOUCHPOINT_NOT_FOLDED}


@fault
def a_touchpoint_was_folded_twice(evidence: Evidence, rng: Random) -> set[Kind] | None:
    evidence.tables["touchpoints"].append(rng.choice(evidence.tables["touchpoints"]))
    return {Kind.TOUCHPOINT_FOLDED_TWICE}


@fault
def a_touchpoint_was_also_folded_for_another_customer(evidence: Evidence, rng: Random) -> set[Kind] | None:
    row = rng.choice(evidence.tables["touchpoints"])
    evidence.tables["touchpoints"].append({**row, "customer_id": "somebody-else"})
    return {Kind.TOUCHPOINT_FOLDED_TWICE}


@fault
def a_touchpoint_was_stored_that_nobody_posted(evidence: Evidence, rng: Random) -> set[Kind] | None:
    row = rng.choice(evidence.tables["touchpoints"])
    evidence.tables["touchpoints"].append({**row, "id": "invented"})
    return {Kind.TOUCHPOINT_UNKNOWN}


@fault
def an_accepted_touchpoint_became_a_dead_letter(evidence: Evidence, rng: Random) -> set[Kind] | None:
    record = rng.choice(evidence.topics["touchpoints"])
    origin = f"touchline.touchpoints.v1/{record.partition}/{record.offset}"
    letter = Record(0, 0, record.key, {"reason": "invalid_touchpoint", "origin": origin}, record.value)
    evidence.topics["dead-letters"].append(letter)
    return {Kind.TOUCHPOINT_DEAD_LETTERED}


@fault
def a_broken_record_became_no_dead_letter(evidence: Evidence, rng: Random) -> set[Kind] | None:
    evidence.topics["touchpoints"].append(Record(0, 10**6, "c0", {}, rng.choice(["{", None, {"id": "x"}])))
    return {Kind.RECORD_UNACCOUNTED}


@fault
def a_touchpoint_is_filed_under_a_key_that_it_does_not_name(evidence: Evidence, rng: Random) -> set[Kind] | None:
    index = rng.randrange(len(evidence.topics["touchpoints"]))
    evidence.topics["touchpoints"][index] = replace(evidence.topics["touchpoints"][index], key="another-key")
    return {Kind.TOUCHPOINT_MISFILED}
