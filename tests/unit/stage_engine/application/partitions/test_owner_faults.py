"""Kind: a loop that retries during an outage. Its log says so once, however many partitions try again and again."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from structlog.testing import capture_logs
from touchline_runtime.metrics import Metrics
from touchline_stage_engine import metrics as declared
from touchline_stage_engine.application.errors import DatabaseAwayError, FencedError, KafkaAwayError
from touchline_stage_engine.application.partitions import owner as module
from touchline_stage_engine.application.partitions.context import PartitionFaults
from touchline_stage_engine.application.partitions.owner import PartitionOwner

from tests.support.waiting import wait_until

PARTITIONS = 12


@dataclass
class Away:
    """What owners share, while no lease can be acquired."""

    error: type[Exception]
    metrics: Metrics = field(default_factory=lambda: Metrics(declared.ALL))
    faults: PartitionFaults = field(default_factory=PartitionFaults)
    attempts: Counter[int] = field(default_factory=Counter)

    async def acquire_lease(self, partition: int) -> Any:
        self.attempts[partition] += 1
        raise self.error(f"the server of partition {partition} is away")


@pytest.mark.parametrize("recovers", [True, False])
@pytest.mark.parametrize(
    ("error", "event"),
    [
        (DatabaseAwayError, "partition_interrupted"),
        (KafkaAwayError, "partition_interrupted"),
        (FencedError, "fenced"),
        (ZeroDivisionError, "partition_failed"),
    ],
)
async def test_an_outage_is_logged_once_for_all_partitions_and_once_when_it_is_over(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception], event: str, recovers: bool
) -> None:
    monkeypatch.setattr(module, "_LONGEST_WAIT", 0.01)
    context: Any = Away(error)
    owners = [PartitionOwner(context, partition) for partition in range(PARTITIONS)]
    with capture_logs() as logs:
        running = [asyncio.create_task(owner.run()) for owner in owners]
        await wait_until(lambda: min(context.attempts[number] for number in range(PARTITIONS)) >= 4, "all try again")
        for partition in range(PARTITIONS if recovers else 0):
            context.faults.over(partition)
        for owner in owners:
            owner.stop()
        await asyncio.gather(*running)
    assert [line["event"] for line in logs] == [event, "fault_over"][: 1 + recovers]
    if not recovers:
        return
    assert logs[1]["fault"] == event
    # An attempt of each may have been under way.
    assert 3 * PARTITIONS <= logs[1]["attempts"] <= context.attempts.total()
