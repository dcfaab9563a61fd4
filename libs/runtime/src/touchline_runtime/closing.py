"""Letting go of Kafka clients, whose own ways of stopping may hang, or be cancelled, while Kafka is away."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

log = structlog.get_logger(__name__)


async def let_go(stop: Coroutine[Any, Any, None], seconds: float, what: str) -> bool:
    """Stop a client within so many seconds, or leave it to itself; whether it stopped well.

    It runs in a task of its own, so that a cancellation inside the client isn't taken for one of ours.
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


def cancelled_by_us() -> bool:
    """Whether somebody asked the current task to end; else a cancellation came from within a client."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
