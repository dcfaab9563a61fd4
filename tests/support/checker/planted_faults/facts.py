"""Faults in the published facts: missing, repeated, out of order, or with a wrong field."""

from dataclasses import replace
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
def a_fact_was_not_published(evidence: Evidence, rng: Random) -> set[Kind] | None:
    del evidence.topics["stage-changes"][rng.choice(fact_indexes(evidence, *ALL_FACTS))]
    return {
        Kind.FACT_GAP, Kind.STAGE_WRONG, Kind.STALL_WRONG, Kind.TIMER_MISSING, Kind.FACT_WRONG, Kind.MOVE_CHAIN_BROKEN,
    }  # fmt: skip


@fault
def a_gap_is_in_the_fact_numbers(evidence: Evidence, rng: Random) -> set[Kind] | None:
    records = evidence.topics["stage-changes"]
    index = rng.choice(fact_indexes(evidence, *ALL_FACTS))
    data = records[index].data
    later = [one for one in records[index + 1 :] if one.data.get("customer_id") == data["customer_id"]]
    if not later:
        return None
    del records[index]
    return {Kind.FACT_GAP}


@fault
def a_gap_is_in_the_sequence(evidence: Evidence, rng: Random) -> set[Kind] | None:
    records = evidence.topics["stage-changes"]
    index = rng.choice(fact_indexes(evidence, "stage-changed"))
    data = records[index].data
    for position, record in enumerate(records[index:], index):
        if record.data.get("customer_id") == data["customer_id"] and "sequence" in record.data:
            records[position] = changed(record, sequence=record.data["sequence"] + 1)
    return {Kind.MOVE_CHAIN_BROKEN}


@fault
def a_fact_was_published_twice(evidence: Evidence, rng: Random) -> set[Kind] | None:
    records = evidence.topics["stage-changes"]
    index = rng.choice(fact_indexes(evidence, *ALL_FACTS))
    records.insert(rng.randrange(index + 1, len(records) + 1), replace(records[index], offset=10**6))
    return {Kind.FACT_REPEATED}


@fault
def a_fact_was_published_twice_under_two_ids(evidence: Evidence, rng: Random) -> set[Kind] | None:
    insert_fact(evidence, rng.choice(fact_indexes(evidence, "stage-changed", "customer-recovered")))
    return {Kind.MOVE_CHAIN_BROKEN, Kind.FACT_WRONG}


@fault
def one_number_names_two_facts(evidence: Evidence, rng: Random) -> set[Kind] | None:
    records = evidence.topics["stage-changes"]
    index = rng.choice(fact_indexes(evidence, *ALL_FACTS))
    other = replace(records[index], headers={**records[index].headers, "ce_id": "another-id"})
    records.insert(index + 1, other)
    return {Kind.FACT_REPEATED}


@fault
def two_facts_of_a_customer_changed_places(evidence: Evidence, rng: Random) -> set[Kind] | None:
    records = evidence.topics["stage-changes"]
    by_customer: dict[str, list[int]] = {}
    for index in fact_indexes(evidence, *ALL_FACTS):
        by_customer.setdefault(records[index].data["customer_id"], []).append(index)
    several = [places for places in by_customer.values() if len(places) > 1]
    places = choose(rng, several)
    if places is None:
        return None
    one, other = sorted(rng.sample(places, 2))
    records[one], records[other] = records[other], records[one]
    return {Kind.FACT_REORDERED}


@fault
def a_fact_has_the_id_of_another(evidence: Evidence, rng: Random) -> set[Kind] | None:
    records = evidence.topics["stage-changes"]
    index = rng.choice(fact_indexes(evidence, *ALL_FACTS))
    records[index] = replace(records[index], headers={**records[index].headers, "ce_id": "not-its-id"})
    return {Kind.FACT_ID_WRONG}


@fault
def a_move_leads_to_another_stage(evidence: Evidence, rng: Random) -> set[Kind] | None:
    records = evidence.topics["stage-changes"]
    index = rng.choice(fact_indexes(evidence, "stage-changed"))
    records[index] = changed(records[index], to_stage="nowhere")
    return {Kind.STAGE_WRONG, Kind.MOVE_CHAIN_BROKEN}


@fault
def a_move_names_another_time(evidence: Evidence, rng: Random) -> set[Kind] | None:
    records = evidence.topics["stage-changes"]
    index = rng.choice(fact_indexes(evidence, "stage-changed"))
    at = instant(records[index].data["occurred_at"]) - rng.choice([1, HOUR])
    records[index] = changed(records[index], occurred_at=text_of(at))
    return {Kind.FACT_WRONG}
