"""The real sessions on in-memory tables, where lifecycles are switched off and on."""

import asyncio
from datetime import UTC, datetime, timedelta

import orjson
import time_machine
from touchline_stage_engine.application.outbox_records import CUSTOMER_STAGES

from tests.support.engine.memory_sessions import MemorySessions
from tests.support.engine.world import LIFECYCLE, touchpoint

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
OTHER = LIFECYCLE.replace("lifecycle: trial", "lifecycle: other").replace("count: 3", "count: 1")


async def settle(engine: MemorySessions) -> None:
    """Read and publish until nothing is left, and fold again what is due for it."""
    for _ in range(50):
        engine.topics.watch()
        for partition in engine.partitions:
            await engine.step(partition, 100, 100)
            engine.publish(partition)
    assert engine.idle


def latest(engine: MemorySessions) -> dict[str, str]:
    """The compacted topic, as a new subscriber has it."""
    records = {record.key: record.value for record in engine.topics.published if record.topic == CUSTOMER_STAGES}
    return {(key or b"").decode(): orjson.loads(value)["stage"] for key, value in records.items() if value}


def test_a_key_that_is_linked_while_a_lifecycle_is_off_has_no_stage_in_it() -> None:
    """Kind: rows and records of a lifecycle that is switched off, which a change of identities passes over."""

    async def run() -> None:
        engine = MemorySessions(partitions=3)
        engine.define(LIFECYCLE, OTHER)
        for partition in engine.partitions:
            await engine.take(partition)
        device = {"anonymous_id": "d"}
        engine.topics.post(touchpoint("t1", BEGIN - timedelta(days=1), **device))
        await settle(engine)
        assert latest(engine) == {"anon:d/other": "try", "anon:d/trial": "reach"}
        engine.define(LIFECYCLE)
        await settle(engine)
        engine.topics.post(touchpoint("t2", BEGIN - timedelta(hours=2), customer_id="c", **device))
        await settle(engine)
        assert latest(engine) == {"c/trial": "reach"}
        engine.define(LIFECYCLE, OTHER)
        await settle(engine)
        engine.topics.post(touchpoint("t3", BEGIN - timedelta(hours=1), customer_id="c"))
        await settle(engine)
        assert latest(engine) == {"c/other": "try", "c/trial": "try"}
        assert set(engine.database.stages) == {("c", "other"), ("c", "trial")}
        # It comes back as a customer: the numbers of its facts go on.
        engine.topics.post(touchpoint("t2", BEGIN - timedelta(hours=3), customer_id="c"))
        await settle(engine)
        assert latest(engine) == {"c/other": "try", "c/trial": "reach", "anon:d/other": "try", "anon:d/trial": "reach"}
        facts = [orjson.loads(record.value) for record in engine.topics.published if record.value]
        numbers = [
            fact["fact_no"] for fact in facts
            if fact["customer_id"] == "anon:d" and fact.get("lifecycle") == "other" and "move" in fact
        ]  # fmt: skip
        assert numbers == list(range(1, len(numbers) + 1))

    with time_machine.travel(BEGIN, tick=False):
        asyncio.run(run())
