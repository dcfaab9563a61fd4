"""Where a fault is registered, and how it changes records and facts."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from touchline_checker.evidence import Evidence, Record
from touchline_checker.findings import Kind
from touchline_schemas.ids import fact_id
from touchline_schemas.times import from_micros, to_wire

Fault = Callable[[Evidence, Random], set[Kind] | None]
FAULTS: dict[str, Fault] = {}

HOUR = 3600 * 10**6
ALL_FACTS = ("stage-changed", "customer-stalled", "customer-recovered")


def fault(plant: Fault) -> Fault:
    """Register a fault under the name of its function."""
    FAULTS[plant.__name__] = plant
    return plant


def text_of(micros: int) -> str:
    """A time as records carry it."""
    return to_wire(from_micros(micros))


def changed(record: Record, **fields: Any) -> Record:
    """The record with some fields of its value replaced."""
    return replace(record, value={**record.data, **fields})


def fact_indexes(evidence: Evidence, *kinds: str) -> list[int]:
    """The places of facts of these kinds among the stage changes."""
    return [
        index
        for index, record in enumerate(evidence.topics["stage-changes"])
        if record.headers["ce_type"] in [f"touchline.{kind}" for kind in kinds]
    ]


def choose(rng: Random, items: list[Any]) -> Any:
    """One of the items; None where there is none."""
    return rng.choice(items) if items else None


def _renumbered(record: Record, fact_no: int) -> Record:
    """The record as another fact with that number, and the id that belongs to it."""
    data = {**record.data, "fact_no": fact_no}
    identifier = str(fact_id(data["customer_id"], data["lifecycle"], data["incarnation"], fact_no))
    return replace(record, value=data, headers={**record.headers, "ce_id": identifier})


def insert_fact(evidence: Evidence, after: int) -> None:
    """Publish the fact at an index again under the next number, and renumber the later ones of its stream."""
    records = evidence.topics["stage-changes"]
    original = records[after]
    line = (original.data["customer_id"], original.data["lifecycle"])
    shift, made = 0, []
    for index, record in enumerate(records):
        mine = (record.data["customer_id"], record.data["lifecycle"]) == line
        made.append(_renumbered(record, record.data["fact_no"] + shift) if mine and shift else record)
        if index == after:
            shift = 1
            made.append(_renumbered(original, original.data["fact_no"] + 1))
    evidence.topics["stage-changes"] = made
