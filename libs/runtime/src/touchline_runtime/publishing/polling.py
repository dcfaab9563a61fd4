"""Look for what was published, again and again."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

log = structlog.get_logger(__name__)

LOOK_EVERY = 1.0
"""Seconds between two looks."""


async def keep_looking(
    look: Callable[[], Awaitable[None]],
    stopping: asyncio.Event,
    *,
    event: str,
    passing: type[Exception] | tuple[type[Exception], ...],
) -> None:
    """Call ``look`` every second until stopping.

    Args:
        event: logged at the first of several failures in a row.
        passing: errors of servers that are away: the next look may succeed.
    """
    failing = False
    while not stopping.is_set():
        try:
            await look()
            failing = False
        except passing as error:
            if not failing:
                log.warning(event, retry_seconds=LOOK_EVERY, error=str(error))
            failing = True
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY):
                await stopping.wait()
