"""Faults in stall timers: fired early, late, twice, or not at all."""

from random import Random

from touchline_checker.evidence import Evidence
from touchline_checker.findings import Kind
from touchline_checker.semantics.times import instant

from tests.support.checker.planted_faults.planting import (
    ALL_FACTS,
    HOUR,
    changed,
    choose,
    fact_indexes,
    fault,
    insert_fact,
    text_of,
)


@fault
def a_timer_fired_early(evidence: Evidence, rng: Random) -> set[Kind] | None:
    records = evidence.topics["stage-changes"]
    stalls = fact_indexes(evidence, "customer-stalled")
    index = choose(rng, [one for one in stalls if instant(records[one].data["due_at"]) < evidence.collected_at - HOUR])
    if index is None:
        return None
    due = instant(records[index].data["due_at"])
    records[index] = changed(records[index], decided_at=text_of(due - rng.choice([1, 10**6, HOUR])))
    return {Kind.TIMER_EARLY}


@fault
def a_timer_fired_late(evidence: Evidence, rng: Random) -> set[Kind] | None:
    records = evidence.topics["stage-changes"]
    index = choose(rng, fact_indexes(evidence, "customer-stalled"))
    if index is None:
        return None
    decided = instant(records[index].data["decided_at"])
    records[index] = changed(records[index], decided_at=text_of(decided + HOUR))
    return {Kind.TIMER_LATE}


@fault
def a_timer_fired_twice(evidence: Evidence, rng: Random) -> set[Kind] | None:
    index = choose(rng, fact_indexes(evidence, "customer-stalled"))
    if index is None:
        return None
    insert_fact(evidence, index)
    return {Kind.TIMER_REPEATED}


@fault
def a_timer_did_not_fire(evidence: Evidence, rng: Random) -> set[Kind] | None:
    """The stall is nowhere: not on the topics, not in the tables."""
    stalled = [row for row in evidence.tables["stages"] if row["stalled_level"]]
    row = choose(rng, stalled)
    if row is None:
        return None
    customer, level = row["customer_id"], row["stalled_level"] - 1
    evidence.tables["stages"] = [
        {**one, "stalled_level": level} if one["customer_id"] == customer else one for one in evidence.tables["stages"]
    ]
    history = [one for one in evidence.tables["history"] if one["customer_id"] == customer]
    evidence.tables["history"].remove(max(history, key=lambda one: one["no"]))
    facts = [
        index
        for index in fact_indexes(evidence, *ALL_FACTS)
        if evidence.topics["stage-changes"][index].data["customer_id"] == customer
    ]
    del evidence.topics["stage-changes"][facts[-1]]
    states = evidence.topics["customer-stages"]
    last = max(index for index, record in enumerate(states) if record.key == f"{customer}/trial")
    states[last] = changed(states[last], stalled_level=level)
    return {Kind.TIMER_MISSING}
