"""Facts about the past wait a moment for more of them; other facts do not wait."""

from touchline_notifier.application.deciding.partition import Partition, WaitingFacts
from touchline_notifier.application.deciding.records import Batch
from touchline_notifier.application.ports import PartitionLease
from touchline_notifier.core.decisions.stage_events import StageEvent

from tests.support.notifier.builders import a_stall


def held(*, at: float, backfill: bool = True, records: int = 1) -> WaitingFacts:
    event = StageEvent("touchline.customer-stalled", a_stall(backfill=backfill), "f-1", {})
    return WaitingFacts(Batch(events=[event]), records, position=1, wait_for={}, at=at)


def a_partition(*facts: WaitingFacts) -> Partition:
    partition = Partition(PartitionLease("here", 0, 1, 0, 0, 0))
    partition.held.extend(facts)
    return partition


def test_the_past_waits_a_second_from_the_first_of_it_on() -> None:
    partition = a_partition(held(at=10.0), held(at=10.9))
    assert partition.should_wait(10.99)
    assert not partition.should_wait(11.0)


def test_a_fact_that_somebody_waits_for_takes_those_before_it_along_at_once() -> None:
    assert not a_partition(held(at=10.0), held(at=10.0, backfill=False)).should_wait(10.0)


def test_enough_of_the_past_waits_no_longer() -> None:
    assert a_partition(held(at=10.0, records=1999)).should_wait(10.0)
    assert not a_partition(held(at=10.0, records=2000)).should_wait(10.0)


def test_nothing_waits_for_nothing() -> None:
    assert not a_partition().should_wait(10.0)
