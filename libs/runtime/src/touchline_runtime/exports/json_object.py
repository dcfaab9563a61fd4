"""A JSON object with long lists, written piece by piece."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Protocol

import orjson


class Page(Protocol):
    """Some items of a list, and the cursor of the next page; None on the last page."""

    @property
    def items(self) -> list[dict[str, Any]]: ...

    @property
    def next(self) -> str | None: ...


async def items_of(pages: Callable[[str | None], Awaitable[Page]]) -> AsyncIterator[dict[str, Any]]:
    """All items of a list.

    Args:
        pages: cursor → a page.
    """
    cursor = None
    while True:
        page = await pages(cursor)
        for item in page.items:
            yield item
        cursor = page.next
        if cursor is None:
            return


async def json_object(
    members: Mapping[str, Any], lists: Mapping[str, AsyncIterator[dict[str, Any]]]
) -> AsyncIterator[bytes]:
    """The object with these members, at least one, and then the lists, one item after the other."""
    yield orjson.dumps(members, default=str)[:-1]
    for name, items in lists.items():
        yield b',"' + name.encode() + b'":['
        first = True
        async for item in items:
            yield (b"" if first else b",") + orjson.dumps(item, default=str)
            first = False
        yield b"]"
    yield b"}"
