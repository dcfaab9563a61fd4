"""Reads the first item before an answer begins, so that a fault is answered as an error and not as a file cut short."""

from collections.abc import AsyncIterator
from typing import TypeVar

T = TypeVar("T")


async def with_first_item_read(items: AsyncIterator[T]) -> AsyncIterator[T]:
    """The same items, of which the first has been read. Raises what reading it raises."""
    try:
        first = await anext(items)
    except StopAsyncIteration:
        return items

    async def whole() -> AsyncIterator[T]:
        yield first
        async for item in items:
            yield item

    return whole()
