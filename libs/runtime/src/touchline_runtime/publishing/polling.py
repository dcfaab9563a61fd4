"""Look for what was published, again and again."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from touchline_runtime.process.repeated_faults import FaultLog

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
        event: logged when looks fail; see :class:`FaultLog`.
        passing: errors of servers that are away: the next look may succeed.
    """
    faults = FaultLog(log, event)
    while not stopping.is_set():
        try:
            await look()
            faults.over()
        except passing as error:
            faults.failed(str(error), retry_seconds=LOOK_EVERY)
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY):
                await stopping.wait()
