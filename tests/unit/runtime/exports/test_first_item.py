"""An answer in pieces begins once its first piece is known, so that a fault is an error and not a file cut short."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_runtime.exports.first_item import with_first_item_read


@given(st.lists(st.integers()))
async def test_every_item_comes_once_and_in_order(items: list[int]) -> None:
    async def given_items() -> AsyncIterator[int]:
        for item in items:
            yield item

    assert [item async for item in await with_first_item_read(given_items())] == items


async def test_what_reading_the_first_item_raises_is_raised_before_the_answer_begins() -> None:
    async def broken() -> AsyncIterator[int]:
        for away in (True,):
            if away:
                raise ConnectionRefusedError
            yield 1

    with pytest.raises(ConnectionRefusedError):
        await with_first_item_read(broken())
