import asyncio

import httpx
import pytest
from touchline_ingest.adapters.http.fetcher import HttpsFetcher
from touchline_runtime.errors import Unavailable

from tests.support.waiting import wait_until

KNOWN = "https://sns.eu-west-1.amazonaws.com/known.pem"
SLOW = "https://sns.eu-west-1.amazonaws.com/slow.pem"


class Host(httpx.AsyncBaseTransport):
    """Answers every address but the slow one, which waits until it is released."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        if str(request.url).startswith(SLOW):
            await self.go.wait()
        if request.url.path == "/elsewhere":
            return httpx.Response(302, headers={"location": "https://192.0.2.1/"})
        return httpx.Response(200, content=b"x" * (100_000 if request.url.path == "/large" else 10))


async def test_a_certificate_is_fetched_once() -> None:
    host = Host()
    fetcher = HttpsFetcher(host)
    found = await asyncio.gather(*(fetcher.certificate(KNOWN) for _ in range(5)))
    assert set(found) == {b"x" * 10}
    assert host.asked == [KNOWN]


async def test_one_that_is_known_waits_for_no_other_and_only_few_wait_at_all() -> None:
    host = Host()
    fetcher = HttpsFetcher(host)
    await fetcher.certificate(KNOWN)
    waiting = [asyncio.create_task(fetcher.certificate(f"{SLOW}?{number}")) for number in range(50)]
    refused = await wait_until(lambda: [task for task in waiting if task.done()], "some are refused")
    assert len(refused) == 30
    assert {type(task.exception()) for task in refused} == {Unavailable}
    async with asyncio.timeout(30):
        assert await fetcher.certificate(KNOWN) == b"x" * 10
    host.go.set()
    assert {await task for task in waiting if task not in refused} == {b"x" * 10}
    assert await fetcher.certificate(SLOW) == b"x" * 10


@pytest.mark.parametrize("url", ["http://sns.eu-west-1.amazonaws.com/a.pem", "https://h/elsewhere", "https://h/large"])
async def test_neither_plain_http_nor_redirects_nor_large_answers_are_followed(url: str) -> None:
    with pytest.raises(Unavailable):
        await HttpsFetcher(Host()).get(url)
