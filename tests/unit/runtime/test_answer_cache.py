"""Kind: an answer over many rows that every request computes again, or that is never computed again."""

import asyncio

import pytest
from touchline_runtime import answer_cache
from touchline_runtime.answer_cache import AnswerCache, AnswerNotReady


class Counted:
    """A computation that counts its runs, and waits where it is told to."""

    def __init__(self) -> None:
        self.runs = 0
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def __call__(self) -> int:
        self.runs += 1
        run = self.runs
        await self.may_end.wait()
        return run


async def test_a_fast_answer_is_computed_for_every_request() -> None:
    cache, compute = AnswerCache(fast_seconds=1e9), Counted()
    assert [(await cache.get(("a",), compute))[0] for _ in range(3)] == [1, 2, 3]


async def test_a_slow_answer_is_kept_and_computed_again_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cache, compute = AnswerCache(fast_seconds=0), Counted()
    monkeypatch.setattr(answer_cache, "FRESH_FACTOR", 1e12)
    assert [(await cache.get(("a",), compute))[0] for _ in range(3)] == [1, 1, 1]
    monkeypatch.setattr(answer_cache, "FRESH_FACTOR", 0)
    compute.may_end.clear()
    assert (await cache.get(("a",), compute))[0] == 1
    compute.may_end.set()
    await asyncio.sleep(0)  # the computation behind the answer begins, and ends at its first step
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (await cache.get(("a",), compute))[0] == 2


async def test_requests_at_the_same_time_share_one_computation() -> None:
    cache, compute = AnswerCache(fast_seconds=0), Counted()
    compute.may_end.clear()
    waiting = [asyncio.create_task(cache.get(("a",), compute)) for _ in range(5)]
    await asyncio.sleep(0)
    compute.may_end.set()
    assert [value for value, _ in await asyncio.gather(*waiting)] == [1] * 5


async def test_an_answer_that_takes_long_is_not_ready_and_is_there_later() -> None:
    cache, compute = AnswerCache(fast_seconds=0, wait_seconds=0), Counted()
    compute.may_end.clear()
    with pytest.raises(AnswerNotReady):
        await cache.get(("a",), compute)
    compute.may_end.set()
    async with asyncio.timeout(60):
        while True:
            try:
                assert (await cache.get(("a",), compute))[0] == 1
                return
            except AnswerNotReady:
                await asyncio.sleep(0)


async def test_a_failed_computation_is_an_error_for_who_waits_and_is_tried_again() -> None:
    cache, compute = AnswerCache(), Counted()

    async def fail() -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await cache.get(("a",), fail)
    assert (await cache.get(("a",), compute))[0] == 1


async def test_the_seconds_of_a_computation_are_told_with_its_kind() -> None:
    seen: list[tuple[str, float]] = []
    cache = AnswerCache(observe=lambda kind, took: seen.append((kind, took)))
    await cache.get(("funnel", 1), Counted())
    assert [kind for kind, _ in seen] == ["funnel"]
    assert seen[0][1] >= 0
