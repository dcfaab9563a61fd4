"""Faults in the compacted topic of stages and in the tables of stages and history."""

from dataclasses import replace
from random import Random
from typing import Any

from touchline_checker.evidence import Evidence
from touchline_checker.findings import Kind
from touchline_checker.semantics.times import instant

from tests.support.checker.planted_faults.planting import HOUR, changed, choose, fault, text_of


def _last_of_key(evidence: Evidence, rng: Random) -> int | None:
    records = evidence.topics["customer-stages"]
    last = {record.key: index for index, record in enumerate(records)}
    found: int | None = choose(rng, [index for index in last.values() if records[index].value is not None])
    return found


@fault
def the_compacted_topic_has_another_stage(evidence: Evidence, rng: Random) -> set[Kind] | None:
    index = _last_of_key(evidence, rng)
    if index is None:
        return None
    records = evidence.topics["customer-stages"]
    stage = next(name for name in ("reach", "try", "buy") if name != records[index].data["stage"])
    records[index] = changed(records[index], stage=stage)
    return {Kind.STAGE_WRONG}


@fault
def the_compacted_topic_has_another_entry_time(evidence: Evidence, rng: Random) -> set[Kind] | None:
    index = _last_of_key(evidence, rng)
    if index is None:
        return None
    records = evidence.topics["customer-stages"]
    at = instant(records[index].data["entered_at"]) + rng.choice([1, HOUR])
    records[index] = changed(records[index], entered_at=text_of(at))
    return {Kind.ENTRY_TIME_WRONG}


@fault
def the_compacted_topic_lost_a_customer(evidence: Evidence, rng: Random) -> set[Kind] | None:
    index = _last_of_key(evidence, rng)
    if index is None:
        return None
    records = evidence.topics["customer-stages"]
    evidence.topics["customer-stages"] = [one for one in records if one.key != records[index].key]
    return {Kind.STAGE_WRONG}


@fault
def the_compacted_topic_keeps_somebody_who_is_gone(evidence: Evidence, rng: Random) -> set[Kind] | None:
    index = _last_of_key(evidence, rng)
    if index is None:
        return None
    record = evidence.topics["customer-stages"][index]
    evidence.topics["customer-stages"].append(replace(record, key="nobody/trial"))
    return {Kind.STAGE_WRONG}


def _change_row(evidence: Evidence, rng: Random, **fields: Any) -> None:
    rows = evidence.tables["stages"]
    index = rng.randrange(len(rows))
    rows[index] = {**rows[index], **fields}


@fault
def the_table_has_another_stage(evidence: Evidence, rng: Random) -> set[Kind] | None:
    _change_row(evidence, rng, stage="nowhere")
    return {Kind.STAGE_WRONG}


@fault
def the_table_has_another_entry_time(evidence: Evidence, rng: Random) -> set[Kind] | None:
    _change_row(evidence, rng, entered_at=rng.randrange(10**15))
    return {Kind.ENTRY_TIME_WRONG}


@fault
def the_table_has_a_stall_level_too_many(evidence: Evidence, rng: Random) -> set[Kind] | None:
    _change_row(evidence, rng, stalled_level=9)
    return {Kind.STALL_WRONG}


@fault
def the_table_has_another_sequence(evidence: Evidence, rng: Random) -> set[Kind] | None:
    _change_row(evidence, rng, sequence=10**6)
    # What was published within the last half minute may not be in the table yet.
    evidence.collected_at += 60 * 10**6
    return {Kind.MOVE_CHAIN_BROKEN}


@fault
def the_history_lacks_a_fact(evidence: Evidence, rng: Random) -> set[Kind] | None:
    del evidence.tables["history"][rng.randrange(len(evidence.tables["history"]))]
    return {Kind.HISTORY_WRONG}


@fault
def the_history_has_a_wrong_fact(evidence: Evidence, rng: Random) -> set[Kind] | None:
    index = rng.randrange(len(evidence.tables["history"]))
    row = evidence.tables["history"][index]
    evidence.tables["history"][index] = {**row, "occurred_at": row["occurred_at"] + 1}
    return {Kind.HISTORY_WRONG}
