"""Kind: a source that reuses its ids must not fill the log: a line a minute says which source and how often."""

import asyncio
from datetime import UTC, datetime, timedelta

from structlog.testing import capture_logs

from tests.support.engine.memory_sessions import MemorySessions
from tests.support.engine.world import LIFECYCLE, touchpoint

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
CONFLICTS = 60


def test_many_conflicting_touchpoints_of_a_source_are_one_line() -> None:
    async def run() -> None:
        engine = MemorySessions(partitions=1)
        engine.define(LIFECYCLE)
        await engine.take(0)
        for copy in range(2):
            for number in range(CONFLICTS):
                at = BEGIN + timedelta(minutes=number)
                engine.topics.post(touchpoint(f"t-{number}", at, customer_id="c-1", properties={"copy": copy}))
        engine.topics.watch()
        while not engine.idle:
            await engine.step(0, 10, 10)
            engine.publish(0)

    with capture_logs() as logs:
        asyncio.run(run())
    lines = [line for line in logs if line["event"] == "touchpoint_conflict"]
    assert [(line["source"], line["times"]) for line in lines] == [("shop", 1)]
