"""Waiting for a condition instead of for a time."""

import asyncio
import inspect
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any


def patience() -> float:
    """TOUCHLINE_TESTS_PATIENCE: how many times longer than usual the tests wait before they give up. 1 by default."""
    return float(os.environ.get("TOUCHLINE_TESTS_PATIENCE", "1"))


async def wait_until(
    condition: Callable[[], Awaitable[Any] | Any],
    what: str = "the condition holds",
    seconds: float = 60.0,
    *,
    interval: float = 0.05,
    seen: Callable[[], Any] | None = None,
    exact: bool = False,
) -> Any:
    """The first true value that ``condition`` (a function or a coroutine function) returns.

    Fails after ``seconds``, times `patience`, with ``what``, the last value, and what ``seen`` returns then. ``exact``:
    the number of seconds is what the test asserts, whatever the machine.
    """
    loop = asyncio.get_running_loop()
    seconds *= 1 if exact else patience()
    deadline = loop.time() + seconds
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        assert loop.time() < deadline, f"not within {seconds:g} s: {what}; last: {seen() if seen else value!r}"
        await asyncio.sleep(interval)


def wait_for(
    condition: Callable[[], Any],
    what: str = "the condition holds",
    seconds: float = 60.0,
    *,
    interval: float = 0.1,
    seen: Callable[[], Any] | None = None,
) -> Any:
    """`wait_until` for tests that run in no event loop. It blocks the thread."""
    seconds *= patience()
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}; last: {seen() if seen else value!r}"
        time.sleep(interval)
    return value
