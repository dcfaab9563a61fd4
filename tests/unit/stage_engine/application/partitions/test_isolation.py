"""Records that fail after decoding, wherever they are in a batch: exactly those become dead letters."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from touchline_stage_engine.application.errors import DatabaseAwayError, Interrupted, PermanentFaultError
from touchline_stage_engine.application.partitions.isolation import CONSECUTIVE_FAILURES, Isolation, each_part
from touchline_stage_engine.application.values import Records


@dataclass(frozen=True)
class Record:
    topic: str
    offset: int
    bad: bool


class Partition:
    """Commits what it is given, unless a bad record is among it; a failed batch leaves dirt in memory."""

    def __init__(self) -> None:
        self.folded: list[Record] = []
        self.rejected: list[Record] = []
        self.dirty = False
        self.isolation = Isolation(3, self.fold, self.reject, self.reset)

    async def fold(self, records: Records) -> None:
        assert not self.dirty, "what a failed batch left in memory was thrown away"
        self.dirty = True
        if any(record.bad for record in (*records.touchpoints, *records.identity)):
            raise KeyError("touchpoints")
        self.folded += [*records.touchpoints, *records.identity]
        self.dirty = False

    async def reject(self, records: Records, error: Exception) -> None:
        assert not self.dirty
        assert isinstance(error, KeyError)
        self.rejected += [*records.touchpoints, *records.identity]

    def reset(self) -> None:
        self.dirty = False


def records(touchpoints: list[bool], identity: list[bool]) -> Records:
    return Records(
        [Record("touchpoints", n, bad) for n, bad in enumerate(touchpoints)],
        [Record("identity", n, bad) for n, bad in enumerate(identity)],
    )


@given(st.lists(st.booleans(), max_size=60), st.lists(st.booleans(), max_size=20))
def test_every_record_that_fails_is_rejected_and_every_other_folded_once_in_order(
    touchpoints: list[bool], identity: list[bool]
) -> None:
    batch, partition = records(touchpoints, identity), Partition()
    with capture_logs():
        asyncio.run(partition.isolation.fold(batch))
    for topic, all_of_it in (("touchpoints", batch.touchpoints), ("identity", batch.identity)):
        for found, bad in ((partition.folded, False), (partition.rejected, True)):
            assert [one for one in found if one.topic == topic] == [one for one in all_of_it if one.bad is bad]


@pytest.mark.parametrize("error", [DatabaseAwayError("away"), PermanentFaultError("a codec"), MemoryError()])
def test_a_fault_of_servers_or_of_the_machine_is_no_record_s(error: BaseException) -> None:
    partition = Partition()

    async def away(_: Records) -> None:
        raise error

    isolation = Isolation(3, away, partition.reject, partition.reset)
    with pytest.raises(type(error)):
        asyncio.run(isolation.fold(records([False] * 10, [])))
    assert not partition.rejected


def test_a_fault_of_everything_does_not_empty_the_topic_into_the_dead_letters() -> None:
    partition = Partition()
    with capture_logs(), pytest.raises(PermanentFaultError):
        asyncio.run(partition.isolation.fold(records([True] * (CONSECUTIVE_FAILURES + 500), [])))
    assert len(partition.rejected) == CONSECUTIVE_FAILURES


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_a_customer_whose_timers_fail_holds_nobody_else_up(bad: list[bool]) -> None:
    done: list[str] = []
    failed: list[str] = []
    dirty = False

    async def work(names: Sequence[str]) -> None:
        nonlocal dirty
        assert not dirty
        if any(bad[int(name)] for name in names):
            dirty = True
            raise ValueError("a timer")
        done.extend(names)

    async def fail(name: str, _: Exception) -> None:
        failed.append(name)

    def reset() -> None:
        nonlocal dirty
        dirty = False

    asyncio.run(each_part([str(n) for n in range(len(bad))], work, fail, reset))
    assert done == [str(n) for n, one in enumerate(bad) if not one]
    assert failed == [str(n) for n, one in enumerate(bad) if one]


def test_interruptions_are_no_customer_s_fault() -> None:
    async def fenced(_: object) -> None:
        raise Interrupted("fenced")

    async def fail(*_: object) -> None:
        raise AssertionError

    with pytest.raises(Interrupted):
        asyncio.run(each_part(["a", "b"], fenced, fail, lambda: None))
