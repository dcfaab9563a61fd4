"""The stream of facts where Kafka is away: a 503 instead of a stream, and a last event instead of silence."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from touchline_devstack.stack import Stack

from tests.support.engine.expected import utc_now
from tests.support.engine.world import World, touchpoint
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.faults]


async def test_a_stream_says_that_kafka_went_away_and_a_new_one_is_refused_until_it_is_back(
    world: World, stack: Stack
) -> None:
    process = await world.running()
    url = f"http://127.0.0.1:{process.port}/v1/stage-changes/stream"
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        try:
            async with client.stream("GET", url) as answer:
                lines = answer.aiter_lines()
                assert await anext(lines) == ": follows"
                await asyncio.to_thread(stack.kill_kafka)
                published = [line async for line in lines if line and not line.startswith(":")]
            assert published[0] == "event: error"
            assert json.loads(published[1].removeprefix("data: "))["status"] == 503
            assert len(published) == 2
            refused = await client.get(url)
            assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
            assert int(refused.headers["retry-after"]) > 0
        finally:
            await asyncio.to_thread(stack.start_kafka)
        await process.ready()

        async def follows() -> bool:
            async with client.stream("GET", url, params={"since": "beginning"}) as answer:
                if answer.status_code != 200:
                    return False
                await world.post([touchpoint("t", utc_now(), customer_id="c")])
                return "event: touchline.stage-changed" in [line async for line in _until_data(answer.aiter_lines())]

        await wait_until(follows, "a stream follows again")


async def _until_data(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    async for line in lines:
        yield line
        if line.startswith("data:"):
            return
