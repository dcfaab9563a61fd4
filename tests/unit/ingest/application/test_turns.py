"""The line of requests: order of arrival, a few in each turn, and an end to waiting."""

import asyncio
import itertools

import pytest
from touchline_ingest.application.ports import Overloaded
from touchline_ingest.application.turns import Turns


async def begin(turns: Turns, begun: list[int], number: int) -> None:
    await turns.wait()
    begun.append(number)


async def test_all_are_begun_in_order_a_few_in_each_turn_of_the_event_loop() -> None:
    turns, begun = Turns(at_once=3, most_wait=3600), list[int]()
    requests = [asyncio.create_task(begin(turns, begun, number)) for number in range(50)]
    counts = [0]
    while len(begun) < 50:
        await asyncio.sleep(0)
        counts.append(len(begun))
    assert begun == list(range(50))
    assert max(later - earlier for earlier, later in itertools.pairwise(counts)) <= 3
    await asyncio.gather(*requests)


async def test_a_request_that_meets_nobody_waits_for_nothing() -> None:
    turns = Turns(at_once=1)
    for _ in range(3):
        waiting = turns.wait()
        with pytest.raises(StopIteration):
            waiting.send(None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_who_waited_too_long_is_refused_and_nobody_joins_the_line_then() -> None:
    turns, begun = Turns(at_once=2, most_wait=-1), list[int]()
    requests = [asyncio.create_task(begin(turns, begun, number)) for number in range(5)]
    results = await asyncio.gather(*requests, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), type(None), Overloaded, Overloaded, Overloaded]
    await begin(turns, begun, 9)
    assert begun == [0, 1, 9]


async def test_a_sender_that_disconnects_gives_its_turn_to_the_next() -> None:
    turns, begun = Turns(at_once=1, most_wait=3600), list[int]()
    requests = [asyncio.create_task(begin(turns, begun, number)) for number in range(4)]
    await asyncio.sleep(0)
    requests[1].cancel()
    requests[2].cancel()
    await asyncio.gather(*requests, return_exceptions=True)
    assert begun == [0, 3]
