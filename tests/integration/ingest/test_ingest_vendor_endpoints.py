"""Every vendor's webhooks over real HTTP: genuine, forged, too old, from the future, and repeated."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from segment.analytics.client import Client
from touchline_ingest.adapters.http.fetcher import HttpsFetcher
from touchline_ingest.core.access.keys import key_hash

from tests.support.ingest.live_routes import LiveIngest, live_ingest
from tests.support.ingest.vendor_requests import PUBLIC_URL, VENDORS, Delivery, Vendor, amazon
from tests.support.waiting import wait_until

every_vendor = pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
KEY = "key-of-the-shop"
SLOW_KEY = "key-of-a-slow-shop"


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[LiveIngest, LiveIngest]]:
    """Two processes' worth of ingest, which know nothing of each other."""
    sources = tmp_path / "sources.yaml"
    lines = [f"  - {{name: {vendor.name}, {vendor.entry}}}" for vendor in VENDORS]
    lines.append(f'  - {{name: shop, kind: segment, key_sha256: "{key_hash(KEY)}"}}')
    slow = "rate_limit: {per_second: 2, burst: 3}"
    lines.append(f'  - {{name: slow-shop, kind: segment, key_sha256: "{key_hash(SLOW_KEY)}", {slow}}}')
    sources.write_text("sources:\n" + "\n".join(lines) + "\n")
    async with AsyncExitStack() as stack:
        made = [
            await stack.enter_async_context(live_ingest(sources, fetcher=HttpsFetcher(amazon()), public_url=PUBLIC_URL))
            for _ in range(2)
        ]
        yield made[0], made[1]


@pytest.fixture
def ingest(two: tuple[LiveIngest, LiveIngest]) -> LiveIngest:
    return two[0]


async def post(ingest: LiveIngest, vendor: Vendor, delivery: Delivery) -> httpx.Response:
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        return await client.post(
            f"{ingest.url}/v1/webhooks/{vendor.name}", content=delivery.body, headers=delivery.headers
        )


@every_vendor
async def test_a_genuine_delivery_is_taken(ingest: LiveIngest, vendor: Vendor) -> None:
    answer = await post(ingest, vendor, vendor.deliver(datetime.now(UTC)))
    assert answer.status_code == 200, answer.text
    assert [touchpoint["source"] for touchpoint in ingest.touchpoints()] == [vendor.name]


@every_vendor
async def test_a_forged_delivery_is_refused_and_leaves_nothing(ingest: LiveIngest, vendor: Vendor) -> None:
    genuine = vendor.deliver(datetime.now(UTC))
    bare = Delivery({}, genuine.body.replace(b'"signature"', b'"signed"').replace(b'"Signature"', b'"Signed"'))
    for forged in (vendor.forge(genuine), bare):
        answer = await post(ingest, vendor, forged)
        assert answer.status_code == 401, answer.text
    assert not ingest.publisher.published["touchpoints"]
    assert not ingest.publisher.published["dead-letters"]


@pytest.mark.parametrize("vendor", [vendor for vendor in VENDORS if vendor.max_age], ids=lambda vendor: vendor.name)
async def test_a_recording_and_a_date_in_the_future_are_refused(ingest: LiveIngest, vendor: Vendor) -> None:
    assert vendor.max_age is not None
    now, minute = datetime.now(UTC), timedelta(minutes=1)
    # However old a request may be, none may be more than five minutes ahead.
    for signed_at in (now - vendor.max_age - minute, now + timedelta(minutes=6), now + timedelta(days=365)):
        answer = await post(ingest, vendor, vendor.deliver(signed_at))
        assert answer.status_code == 401, answer.text
    assert not ingest.publisher.published["touchpoints"]


@every_vendor
async def test_the_same_delivery_is_the_same_touchpoint_whichever_process_it_comes_to(
    two: tuple[LiveIngest, LiveIngest], vendor: Vendor
) -> None:
    delivery = vendor.deliver(datetime.now(UTC))
    for ingest in two:
        assert (await post(ingest, vendor, delivery)).status_code == 200
        # Again: taken under the same id, or refused where a token serves once.
        assert (await post(ingest, vendor, delivery)).status_code in (200, 401)
    ids = {touchpoint["id"] for ingest in two for touchpoint in ingest.touchpoints()}
    assert len(ids) == 1


async def test_segments_python_library_is_served_and_waits_when_it_is_told_to(ingest: LiveIngest) -> None:
    failed: list[Exception] = []

    def use(key: str, gzip: bool, count: int) -> None:
        client = Client(key, host=ingest.url, gzip=gzip, on_error=lambda error, _: failed.append(error), max_retries=4)
        for number in range(count):
            client.track("u-1", "Order Completed", {"total": number}, message_id=f"{key}-{gzip}-{number}")
        client.flush()
        client.join()

    await asyncio.to_thread(use, KEY, False, 2)
    await asyncio.to_thread(use, KEY, True, 2)
    ingest.publisher.go_away()
    away = asyncio.create_task(asyncio.to_thread(use, KEY, True, 3))
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:

        async def refused() -> bool:
            return 'door="segment",status="503"' in (await client.get(f"{ingest.url}/metrics")).text

        await wait_until(refused, "a request was answered with 503", interval=0.02)
    ingest.publisher.come_back()
    await away
    # Three at once and then two a second: the second batch has to wait.
    await asyncio.to_thread(use, SLOW_KEY, False, 3)
    await asyncio.to_thread(use, SLOW_KEY, True, 3)
    assert not failed
    expected = {f"{KEY}-False-{n}" for n in range(2)} | {f"{KEY}-True-{n}" for n in range(3)}
    expected |= {f"{SLOW_KEY}-{gzip}-{n}" for gzip in (False, True) for n in range(3)}
    assert {touchpoint["id"] for touchpoint in ingest.touchpoints()} == expected
