"""Letting go of clients that may hang, fail, or be cancelled from within."""

import asyncio

import pytest
from touchline_runtime.kafka.shutdown import cancelled_by_us, stop_client


async def test_what_stops_well_is_said_to() -> None:
    async def stop() -> None:
        await asyncio.sleep(0)

    assert await stop_client(stop(), 5, "client")


async def test_what_hangs_is_left_to_itself() -> None:
    left = asyncio.Event()

    async def stop() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    assert not await stop_client(stop(), 0.01, "client")
    await asyncio.wait_for(left.wait(), 60)


@pytest.mark.parametrize("error", [OSError("gone"), asyncio.CancelledError()])
async def test_what_fails_or_is_cancelled_from_within_is_no_failure_of_ours(error: BaseException) -> None:
    async def stop() -> None:
        raise error

    assert not await stop_client(stop(), 5, "client")
    assert not cancelled_by_us()


async def test_a_cancellation_of_ours_is_told_from_one_within() -> None:
    seen = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append(cancelled_by_us())
            raise

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == [True]
