"""Finds the records that make a batch fail, by halving the batch until each of them is alone."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import asyncpg
from aiokafka.errors import KafkaError

from touchline_runtime.database.faults import CONTENT_FAULTS, UNREACHABLE
from touchline_runtime.errors import RuntimeFault

R = TypeVar("R")

_SERVERS = (*UNREACHABLE, asyncpg.PostgresError, KafkaError, RuntimeFault, MemoryError)


def is_content_fault(error: Exception) -> bool:
    """Whether the records caused an error, not a server or the settings."""
    return isinstance(error, CONTENT_FAULTS) or not isinstance(error, _SERVERS)


async def isolate(
    records: Sequence[R],
    work: Callable[[Sequence[R]], Awaitable[None]],
    failed: Callable[[R, Exception], Awaitable[None]],
) -> None:
    """Process records in order, in as few batches as succeed; call ``failed`` for each that fails alone.

    Args:
        work: all or nothing; when it raises, nothing of it is committed.

    Raises:
        Exception: a server failed; the records before are done.
    """
    waiting = [records]
    while waiting:
        part = waiting.pop()
        try:
            await work(part)
        except Exception as error:
            if not is_content_fault(error):
                raise
            middle = len(part) // 2
            if middle:
                waiting += [part[middle:], part[:middle]]
            else:
                await failed(part[0], error)
