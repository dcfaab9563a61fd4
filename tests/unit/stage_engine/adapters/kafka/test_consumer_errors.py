"""Kind: an exception inside what aiokafka calls, or in the loop that looks for the topics' ends, is not swallowed."""

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from touchline_stage_engine.adapters.kafka import consumer as module
from touchline_stage_engine.adapters.kafka.topics import Inputs
from touchline_stage_engine.application.errors import PermanentFaultError
from touchline_stage_engine.settings import StageEngineSettings

from tests.support.waiting import wait_until

ERRORS = [RuntimeError("no such thing"), KeyError("partition"), AssertionError(), KafkaError("gone"), ValueError()]
INPUTS = Inputs("cluster", "touchpoints", "id-1", "identity", "id-2", 4)


def listener_class() -> Any:
    return module._Listener


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("when", ["assigned", "revoked"])
async def test_an_exception_in_an_assignment_listener_is_handed_on(error: Exception, when: str) -> None:
    failed: list[Exception] = []
    seen: list[set[int]] = []

    async def fails(partitions: set[int]) -> None:
        seen.append(partitions)
        raise error

    listener = listener_class()(INPUTS, fails, fails, failed.append)
    call = listener.on_partitions_assigned if when == "assigned" else listener.on_partitions_revoked
    await call({TopicPartition("touchpoints", 3), TopicPartition("identity", 3)})
    assert seen == [{3}]
    assert failed == [error]


async def test_partitions_of_one_topic_alone_are_no_assignment() -> None:
    failed: list[Exception] = []
    seen: list[set[int]] = []

    async def assigned(partitions: set[int]) -> None:
        seen.append(partitions)

    listener = listener_class()(INPUTS, assigned, assigned, failed.append)
    await listener.on_partitions_assigned({TopicPartition("identity", 3)})
    assert seen == []
    assert [type(error) for error in failed] == [PermanentFaultError]
    assert "touchpoints" in str(failed[0])


class FailingEnds(module.KafkaTouchpointConsumer):
    """A consumer whose first looks at the topics' ends fail."""

    def __init__(self, errors: list[Exception]) -> None:
        super().__init__(StageEngineSettings(), INPUTS, "worker")
        self.errors = errors

    async def _fetch_ends(self, pairs: list[TopicPartition]) -> tuple[dict[TopicPartition, int], ...]:
        if self.errors:
            raise self.errors.pop()
        return dict.fromkeys(pairs, 7), {}


async def test_the_loop_that_looks_for_the_topics_ends_survives_any_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TICK", 0.01)
    consumer = FailingEnds([*ERRORS, TimeoutError(), OSError()])
    stopping = asyncio.Event()
    watching = asyncio.create_task(consumer.watch(stopping, lambda: [1]))
    try:
        await wait_until(lambda: consumer._ends.offsets, "the ends are known")
        assert not consumer.errors
        assert set(consumer._ends.offsets.values()) == {7}
        assert not watching.done()
    finally:
        stopping.set()
        await asyncio.wait_for(watching, 60)
