"""Kind: a broker that goes silent without closing anything. Ingest reports it in time, and recovers by itself."""

import asyncio
import os
import signal
import time
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from touchline_devstack.processes import Service
from touchline_devstack.stack import Stack

from tests.support.ingest.poster import KEY, stored
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.faults]


def touchpoint(number: int) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    return {"id": f"t-{number}", "type": "page_viewed", "customer_id": f"c-{number}", "occurred_at": now}


async def post(client: httpx.AsyncClient, number: int) -> httpx.Response:
    return await client.post(
        "/v1/touchpoints", json=touchpoint(number), headers={"Authorization": f"Bearer {KEY}"}, timeout=60
    )


@pytest.mark.parametrize("ingest_service", [{"TOUCHLINE_STALL_SECONDS": "4"}], indirect=True)
@pytest.mark.parametrize("under_load", [True, False], ids=["under load", "idle"])
async def test_a_broker_that_stops_is_reported_within_the_limit_and_ingest_recovers_when_it_continues(
    stack: Stack, ingest_service: Service, topic_prefix: str, under_load: bool
) -> None:
    broker = next(part.pid for part in stack.status() if part.title == "Kafka")
    if broker is None:
        pytest.skip("this Kafka is not a process of ours: run on the embedded stack")
    service = ingest_service.start().wait_ready()
    async with httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=30) as client:
        assert (await post(client, 0)).status_code == 202
        os.kill(broker, signal.SIGSTOP)
        try:
            began = time.monotonic()
            if under_load:
                answers = await asyncio.gather(*(post(client, number) for number in range(1, 20)))
                assert {answer.status_code for answer in answers} == {503}
                assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)

            async def reason() -> Any:
                response = await client.get("/readyz")
                return response.json()["checks"] if response.status_code == 503 else None

            # STALL_SECONDS is 4 here; aiokafka alone would wait for 40.
            checks = await wait_until(reason, "it says that it is not ready", 30, exact=True)
            assert time.monotonic() - began < 35
            assert checks["kafka"] != "ok", checks
            assert (await client.get("/healthz")).status_code == 200
        finally:
            os.kill(broker, signal.SIGCONT)

        async def accepted() -> bool:
            return (await post(client, 20)).status_code == 202

        await wait_until(accepted, "touchpoints are accepted again")

        async def ready() -> bool:
            return (await client.get("/readyz")).status_code == 200

        await wait_until(ready, "it is ready again")
    found = {one["id"] for one in await stored(stack.kafka_bootstrap, topic_prefix)}
    assert {"t-0", "t-20"} <= found
