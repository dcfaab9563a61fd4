"""What was answered with 2xx is on the topic, whatever dies in the middle."""

import asyncio
import os
import signal
from collections import Counter
from typing import Any

import httpx
import pytest
from touchline_devstack.processes import Service
from touchline_devstack.stack import Stack

from tests.support.ingest.poster import KEY, Poster, stored, values_on
from tests.support.ingest.route_load import TO_DEAD_LETTERS, TO_TOUCHPOINTS, RouteLoad
from tests.support.waiting import patience, wait_until

pytestmark = [pytest.mark.stack, pytest.mark.faults]


async def held_against_the_topic(poster: Poster, stack: Stack, prefix: str) -> list[dict[str, Any]]:
    """Everything accepted is there; a key's touchpoints are in the order in which they were first sent."""
    found = await stored(stack.kafka_bootstrap, prefix)
    missing = set(poster.accepted) - {touchpoint["id"] for touchpoint in found}
    assert not missing, f"{len(missing)} accepted touchpoints are not on the topic"
    last: Counter[str] = Counter()
    seen: set[str] = set()
    for touchpoint in found:
        if touchpoint["id"] not in seen:
            seen.add(touchpoint["id"])
            number = touchpoint["properties"]["number"]
            assert number >= last[touchpoint["customer_id"]], "a customer's touchpoints changed places"
            last[touchpoint["customer_id"]] = number
    return found


async def status_of(service: Service, path: str) -> int:
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        return (await client.get(service.url + path)).status_code


async def test_a_broker_killed_under_load_costs_nothing_that_was_accepted(
    stack: Stack, ingest_service: Service, topic_prefix: str
) -> None:
    service = ingest_service.start().wait_ready()
    async with Poster(service.url) as poster:
        await poster.accepts(2000)
        try:
            await asyncio.to_thread(stack.kill_kafka)
            await poster.hears(503)
            assert await status_of(service, "/readyz") == 503
            assert await status_of(service, "/healthz") == 200
        finally:
            await asyncio.to_thread(stack.start_kafka)
        await poster.accepts(2000)
        await poster.stop()
        assert await status_of(service, "/readyz") == 200
    assert service.is_running
    assert set(poster.statuses) == {202, 503}
    await held_against_the_topic(poster, stack, topic_prefix)


async def test_a_broker_killed_under_load_makes_no_door_promise_what_is_not_kept(
    stack: Stack, ingest_service: Service, topic_prefix: str
) -> None:
    service = ingest_service.start().wait_ready()
    async with RouteLoad(service.url) as load:
        await load.every_endpoint_answers(200, 202, times=50)
        try:
            await asyncio.to_thread(stack.kill_kafka)
            await load.every_endpoint_answers(503)
        finally:
            await asyncio.to_thread(stack.start_kafka)
        await load.every_endpoint_answers(200, 202, times=50)
    for name, statuses in load.statuses.items():
        assert set(statuses) <= {200, 202, 503}, f"{name} was answered {dict(statuses)}"
    assert not load.without_retry_after
    touchpoints = await stored(stack.kafka_bootstrap, topic_prefix)
    there = {touchpoint["id"] for touchpoint in touchpoints}
    for make in TO_TOUCHPOINTS:
        missing = set(load.promised[make.__name__]) - there
        assert not missing, f"{len(missing)} that {make.__name__} was promised are not on the topic"
    letters = b"\n".join(await values_on(stack.kafka_bootstrap, f"{topic_prefix}.dead-letters.v1"))
    for make in TO_DEAD_LETTERS:
        missing = {mark for mark in load.promised[make.__name__] if f"what is {mark}?".encode() not in letters}
        assert not missing, f"{len(missing)} that {make.__name__} was promised are no dead letters"


@pytest.mark.parametrize("ingest_service", [{"TOUCHLINE_MAX_IN_FLIGHT_RECORDS": "200"}], indirect=True)
async def test_while_the_broker_is_away_what_waits_for_it_stays_within_bounds(
    stack: Stack, ingest_service: Service, topic_prefix: str
) -> None:
    service = ingest_service.start().wait_ready()
    async with RouteLoad(service.url, clients=10) as load:
        await load.every_endpoint_answers(200, 202)
        try:
            await asyncio.to_thread(stack.kill_kafka)
            for _ in range(20):
                await load.every_endpoint_answers(503, times=1)
                assert await in_flight(service) <= 200
        finally:
            await asyncio.to_thread(stack.start_kafka)
        await load.every_endpoint_answers(200, 202)
        await load.stop()

        async def nothing_in_flight() -> bool:
            return not await in_flight(service)

        await wait_until(nothing_in_flight, "nothing is in flight")
    assert not load.without_retry_after


async def in_flight(service: Service) -> float:
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        page = (await client.get(service.url + "/metrics")).text
    (line,) = [line for line in page.splitlines() if line.startswith("touchline_ingest_in_flight_records ")]
    return float(line.split()[1])


async def test_a_frozen_broker_is_503_in_time_and_then_all_is_well(
    stack: Stack, ingest_service: Service, topic_prefix: str
) -> None:
    service = ingest_service.start().wait_ready()
    broker = next(part.pid for part in stack.status() if part.title == "Kafka")
    if broker is None:
        pytest.skip("this Kafka is not a process of ours: run on the embedded stack")
    async with Poster(service.url) as poster:
        await poster.accepts(1000)
        os.kill(broker, signal.SIGSTOP)
        try:
            started = asyncio.get_running_loop().time()
            await poster.hears(503)
            # TOUCHLINE_ACK_TIMEOUT_SECONDS is 2; aiokafka alone would wait for 40.
            assert asyncio.get_running_loop().time() - started < 25
        finally:
            os.kill(broker, signal.SIGCONT)
        await poster.accepts(1000)
    await held_against_the_topic(poster, stack, topic_prefix)


async def test_on_sigterm_it_finishes_what_it_accepted(
    stack: Stack, ingest_service: Service, topic_prefix: str
) -> None:
    service = ingest_service.start().wait_ready()
    async with Poster(service.url) as poster:
        await poster.accepts(2000)
        os.kill(service.pid, signal.SIGTERM)
        await wait_until(lambda: not service.is_running)
        await poster.stop()
    assert service.exit_code == 0
    assert set(poster.statuses) == {202}
    await held_against_the_topic(poster, stack, topic_prefix)


async def test_killed_under_load_it_leaves_nothing_behind_that_was_accepted(
    stack: Stack, ingest_service: Service, topic_prefix: str
) -> None:
    service = ingest_service.start().wait_ready()
    async with Poster(service.url) as poster:
        await poster.accepts(2000)
        service.kill()
        await asyncio.to_thread(lambda: service.start().wait_ready())
        await poster.accepts(2000)
    assert poster.unanswered > 0
    await held_against_the_topic(poster, stack, topic_prefix)


async def test_started_before_its_broker_it_waits_and_says_so(
    stack: Stack, ingest_service: Service, topic_prefix: str
) -> None:
    await asyncio.to_thread(stack.stop_kafka)
    try:
        service = ingest_service.start()
        async with asyncio.timeout(60 * patience()):
            while True:
                try:
                    assert await status_of(service, "/readyz") == 503
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            touchpoint = {"type": "x", "customer_id": "c", "occurred_at": "2026-03-01T12:00:00Z", "id": "early"}
            headers = {"authorization": f"Bearer {KEY}"}
            answer = await client.post(f"{service.url}/v1/touchpoints", json=touchpoint, headers=headers)
        assert answer.status_code == 503
        assert answer.json()["results"][0]["id"] == "early"
    finally:
        await asyncio.to_thread(stack.start_kafka)
    await asyncio.to_thread(service.wait_ready)
    async with Poster(service.url) as poster:
        await poster.accepts(200)
    await held_against_the_topic(poster, stack, topic_prefix)


async def test_stopped_while_its_broker_is_away_it_ends_in_time(
    stack: Stack, ingest_service: Service, topic_prefix: str
) -> None:
    service = ingest_service.start().wait_ready()
    async with Poster(service.url) as poster:
        await poster.accepts(200)
        try:
            await asyncio.to_thread(stack.kill_kafka)
            await poster.hears(503)
            os.kill(service.pid, signal.SIGTERM)
            await wait_until(lambda: not service.is_running, seconds=40, exact=True)
        finally:
            await asyncio.to_thread(stack.start_kafka)
        await poster.stop()
    assert service.exit_code == 0
    await held_against_the_topic(poster, stack, topic_prefix)
