"""Figures that are read when somebody scrapes: fresh, absent while they can't be read, and never in the way."""

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families
from touchline_runtime import scraping
from touchline_runtime.metrics import Counter, Metrics, Sampled

from tests.support.waiting import wait_until

DEPTH = Sampled("touchline_depth", "How deep.", "Look.", ("place",))
SEEN = Counter("touchline_seen", "Seen.", "Look.")


def samples(exposition: bytes, name: str) -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(exposition.decode())
        for sample in family.samples
        if sample.name == name
    }


async def test_a_figure_is_read_at_the_scrape_and_what_is_gone_is_absent() -> None:
    metrics = Metrics([DEPTH])
    now: dict[tuple[str, ...], float] = {("a",): 1.0, ("b",): 2.0}

    async def read() -> dict[Sampled, dict[tuple[str, ...], float]]:
        return {DEPTH: dict(now)}

    metrics.read_when_scraped(read, at_least_seconds=0)
    assert samples(await metrics.scraped(), "touchline_depth") == now
    del now["b",]
    now["a",] = 5.0

    async def read_again() -> bool:
        return samples(await metrics.scraped(), "touchline_depth") == {("a",): 5.0}

    await wait_until(read_again, "the figures are read again")


async def test_a_reader_that_fails_leaves_its_figures_absent_and_the_others_there() -> None:
    metrics, broken = Metrics([DEPTH, SEEN]), False

    async def read() -> dict[Sampled, dict[tuple[str, ...], float]]:
        if broken:
            raise ConnectionRefusedError("no database")
        return {DEPTH: {("a",): 1.0}}

    metrics.read_when_scraped(read, at_least_seconds=0)
    assert samples(await metrics.scraped(), "touchline_depth") == {("a",): 1.0}
    broken = True

    async def absent() -> bytes | None:
        answered = await metrics.scraped()
        return answered if samples(answered, "touchline_depth") == {} else None

    answered = await wait_until(absent, "the figures are absent")
    assert samples(answered, "touchline_seen_total") == {(): 0.0}
    assert b"# HELP touchline_depth How deep." in answered


async def test_scrapes_at_the_same_time_and_soon_after_share_one_read() -> None:
    metrics, reads = Metrics([DEPTH]), 0

    async def read() -> dict[Sampled, dict[tuple[str, ...], float]]:
        nonlocal reads
        reads += 1
        await asyncio.sleep(0.01)
        return {DEPTH: {("a",): float(reads)}}

    metrics.read_when_scraped(read, at_least_seconds=60)
    answers = await asyncio.gather(*(metrics.scraped() for _ in range(20)))
    assert reads == 1
    assert {samples(answer, "touchline_depth")["a",] for answer in answers} == {1.0}


async def test_a_slow_read_is_not_waited_for_and_shows_at_a_later_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scraping, "_WAIT_SECONDS", 0.05)
    metrics, go_on = Metrics([DEPTH]), asyncio.Event()

    async def read() -> dict[Sampled, dict[tuple[str, ...], float]]:
        await go_on.wait()
        return {DEPTH: {("a",): 1.0}}

    metrics.read_when_scraped(read, at_most_seconds=30)
    assert samples(await metrics.scraped(), "touchline_depth") == {}
    go_on.set()
    assert samples(await metrics.scraped(), "touchline_depth") == {("a",): 1.0}


async def test_a_read_that_never_ends_is_cancelled() -> None:
    metrics, ended = Metrics([DEPTH]), asyncio.Event()

    async def read() -> dict[Sampled, dict[tuple[str, ...], float]]:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    metrics.read_when_scraped(read, at_most_seconds=0.05)
    assert samples(await metrics.scraped(), "touchline_depth") == {}
    assert ended.is_set()


class Clock:
    """Stands for the module `time`: it is advanced by hand."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize(("fails", "reads_later"), [(False, 1), (True, 2)])
async def test_a_slow_read_is_repeated_rarely_and_a_failed_one_soon(
    monkeypatch: pytest.MonkeyPatch, fails: bool, reads_later: int
) -> None:
    clock = Clock()
    monkeypatch.setattr(scraping, "time", clock)
    metrics, reads = Metrics([DEPTH]), 0

    async def read() -> dict[Sampled, dict[tuple[str, ...], float]]:
        nonlocal reads
        reads += 1
        clock.now += 5
        if fails:
            raise TimeoutError
        return {DEPTH: {("a",): 1.0}}

    metrics.read_when_scraped(read)
    await metrics.scraped()
    clock.now += 11
    await metrics.scraped()
    assert reads == reads_later
    clock.now += 250
    await metrics.scraped()
    assert reads == reads_later + 1
