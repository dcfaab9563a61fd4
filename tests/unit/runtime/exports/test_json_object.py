"""A JSON object written piece by piece, read by another library."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from touchline_runtime.exports.json_object import items_of, json_object


@dataclass
class Numbered:
    """A page of a list in memory; the cursor is the index of the next item."""

    items: list[dict[str, Any]]
    next: str | None


names = st.text(min_size=1, max_size=5)
items = st.lists(st.dictionaries(names, st.integers(-(2**53), 2**53) | st.text() | st.none(), max_size=2), max_size=9)


@given(st.dictionaries(names, st.text() | st.booleans(), min_size=1), items, items, st.integers(1, 4))
def test_members_and_every_item_of_every_page_come_in_order(
    members: dict[str, Any], first: list[dict[str, Any]], second: list[dict[str, Any]], at_once: int
) -> None:
    def paged(found: list[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
        async def page(cursor: str | None) -> Numbered:
            begin = int(cursor or 0)
            end = begin + at_once
            return Numbered(found[begin:end], str(end) if end < len(found) else None)

        return items_of(page)

    async def written() -> bytes:
        lists = {"list one": paged(first), "list two": paged(second)}
        return b"".join([part async for part in json_object(members, lists)])

    assert json.loads(asyncio.run(written())) == members | {"list one": first, "list two": second}
