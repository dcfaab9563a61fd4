"""Waiting for a condition instead of for a time."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any


async def wait_until(
    condition: Callable[[], Awaitable[Any] | Any],
    what: str = "the condition holds",
    seconds: float = 60.0,
    *,
    interval: float = 0.05,
    seen: Callable[[], Any] | None = None,
) -> Any:
    """The first true value that ``condition`` (a function or a coroutine function) returns.

    Fails after ``seconds`` with ``what``, the last value, and what ``seen`` returns then.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        assert loop.time() < deadline, f"not within {seconds:g} s: {what}; last: {seen() if seen else value!r}"
        await asyncio.sleep(interval)
