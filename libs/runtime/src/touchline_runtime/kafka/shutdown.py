"""Stops Kafka clients. Their own methods may hang, or be cancelled, while Kafka is away."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

log = structlog.get_logger(__name__)

T = TypeVar("T")


async def stop_client(stop: Coroutine[Any, Any, None], seconds: float, what: str) -> bool:
    """Stop a client within so many seconds, or abandon it; return whether it stopped cleanly.

    It runs in a task of its own, so that a cancellation inside the client does not look like ours.
    """
    task = asyncio.create_task(stop, name=f"stop-{what}")
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        task.cancel()
        task.add_done_callback(lambda left: left.cancelled() or left.exception())
        log.info("stopped_hard", what=what, error=f"no end within {seconds:g} s")
        return False
    error = "cancelled" if task.cancelled() else task.exception()
    if error is not None:
        log.info("stopped_hard", what=what, error=repr(error))
    return error is None


async def unless_stopping(work: Coroutine[Any, Any, T], stopping: asyncio.Event) -> T | None:
    """Await work that may wait long for a server; cancel it and return None as soon as the process stops."""
    task = asyncio.create_task(work)
    stop = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        return None
    finally:
        stop.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=1)


def cancelled_by_us() -> bool:
    """Whether our code cancelled the current task; otherwise the cancellation came from inside a client."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
