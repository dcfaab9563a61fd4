"""Facts that tell of the past wait a moment for more of their kind; nobody else waits with them."""

from making import a_stall
from touchline_notifier.adapters.ownership import Owned
from touchline_notifier.adapters.partition import HeldFacts, Partition
from touchline_notifier.adapters.records import Batch
from touchline_notifier.core.facts import Told


def held(*, at: float, backfill: bool = True, records: int = 1) -> HeldFacts:
    told = Told("touchline.customer-stalled", a_stall(backfill=backfill), "f-1", {})
    return HeldFacts(Batch(told=[told]), records, position=1, barrier={}, at=at)


def a_partition(*facts: HeldFacts) -> Partition:
    partition = Partition(Owned("here", 0, 1, 0, 0, 0))
    partition.held.extend(facts)
    return partition


def test_the_past_waits_a_second_from_the_first_of_it_on() -> None:
    partition = a_partition(held(at=10.0), held(at=10.9))
    assert partition.lingers(10.99)
    assert not partition.lingers(11.0)


def test_a_fact_that_somebody_waits_for_takes_those_before_it_along_at_once() -> None:
    assert not a_partition(held(at=10.0), held(at=10.0, backfill=False)).lingers(10.0)


def test_enough_of_the_past_waits_no_longer() -> None:
    assert a_partition(held(at=10.0, records=1999)).lingers(10.0)
    assert not a_partition(held(at=10.0, records=2000)).lingers(10.0)


def test_nothing_waits_for_nothing() -> None:
    assert not a_partition().lingers(10.0)
