"""Deletes rows that are older than they are kept: some at a time, beside all other work."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from touchline_runtime.errors import Unavailable

log = structlog.get_logger(__name__)

AT_ONCE = 1_000
"""Rows deleted in one transaction."""
EVERY_SECONDS = 600.0
_BETWEEN_PIECES_SECONDS = 0.2


async def keep_deleting(delete_old: Callable[[], Awaitable[None]], stopping: asyncio.Event) -> None:
    """Delete what is old every ten minutes, until told to stop.

    Args:
        delete_old: raises ``Unavailable`` when PostgreSQL is away.
    """
    while not stopping.is_set():
        try:
            await delete_old()
        except Unavailable as error:
            log.warning("retention_interrupted", error=str(error))
        await _wait(stopping, EVERY_SECONDS)


async def delete_in_pieces(what: str, delete: Callable[[], Awaitable[int]], stopping: asyncio.Event) -> None:
    """Delete until nothing old is left, or until told to stop.

    Args:
        delete: deletes ``AT_ONCE`` rows at most; how many it were.
    """
    total = 0
    while not stopping.is_set():
        deleted = await delete()
        total += deleted
        if deleted < AT_ONCE:
            break
        await _wait(stopping, _BETWEEN_PIECES_SECONDS)
    if total:
        log.info("retention_deleted", what=what, rows=total)


async def _wait(stopping: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()
