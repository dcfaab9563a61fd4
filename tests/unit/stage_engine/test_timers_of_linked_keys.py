"""Timers of customers with several keys wait for every partition that may still bring a touchpoint of theirs."""

import asyncio
import os
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from hypothesis import example, given, settings
from hypothesis import strategies as st
from touchline_schemas.partitions import partition_of

from tests.support.engine.memory_sessions import MemorySessions
from tests.support.engine.world import key_of, touchpoint

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
PARTITIONS = 8
QUICK = """
lifecycle: trial
version: 1
stages:
  - name: reach
    stall: {after: 10d}
"""
CHAIN: list[dict[str, str]] = [
    {"customer_id": "c", "anonymous_id": "a0"},
    {"anonymous_id": "a0", "email": "x@example.org"},
    {"anonymous_id": "a1", "email": "x@example.org"},
    {"anonymous_id": "a1", "email": "y@example.org"},
]
"""Each names two keys, the second of which the next names too: the last key is four links away from the customer."""


def links_and_activity(distance: int) -> list[dict[str, Any]]:
    """Touchpoints that link a key to a customer over so many links, and that key's activity; none older than nine days.

    Never is there a silence of ten days.
    """
    made = [touchpoint(f"link{number}", BEGIN, **CHAIN[number]) for number in range(distance)]
    last = CHAIN[distance - 1]
    previous = CHAIN[distance - 2] if distance > 1 else {"customer_id": "c"}
    (only,) = [{name: value} for name, value in last.items() if (name, value) not in previous.items()]
    return [*made, *(touchpoint(f"t{days}", BEGIN + timedelta(days=days), **only) for days in (8, 16, 24))]


def stalls(engine: MemorySessions) -> list[str]:
    """The customers whose stalls are published."""
    return [
        record.key.decode()
        for record in engine.database.outbox.values()
        if dict(record.headers).get("ce_type") == b"touchline.customer-stalled" and record.key is not None
    ]


async def look_everywhere(engine: MemorySessions, clock: time_machine.Traveller, partitions: Iterable[int]) -> None:
    """The owners of these partitions read on and look at the clock; a second passes."""
    engine.topics.watch()
    for partition in partitions:
        await engine.step(partition, 100, 100)
    for partition in partitions:
        engine.publish(partition)
    await engine.catch_up.exchange()
    clock.shift(1)


async def begin(posted: Sequence[dict[str, Any]]) -> MemorySessions:
    """Owners of all partitions, who have caught up with nothing but the clock; then a backlog."""
    engine = MemorySessions(partitions=PARTITIONS, definition=QUICK)
    for partition in engine.partitions:
        await engine.take(partition)
    for one in posted:
        engine.topics.post(one)
    return engine


async def assert_stalls_only_in_the_end(
    engine: MemorySessions, clock: time_machine.Traveller, posted: Sequence[dict[str, Any]]
) -> None:
    """The engine reads everything there is; the customer stalls when the clock says so."""
    for _ in range(40):
        await look_everywhere(engine, clock, engine.partitions)
    assert engine.idle
    assert stalls(engine) == []
    assert engine.database.customers[partition_of("c", PARTITIONS), "c"]["touchpoints"] == len(posted)
    clock.shift(timedelta(days=9))
    for _ in range(20):
        await look_everywhere(engine, clock, engine.partitions)
    assert stalls(engine) == ["c"], "ten days after the last touchpoint"


@pytest.mark.parametrize("distance", [1, 2, 3, 4])
@pytest.mark.parametrize("order", ["nearest first", "farthest first", "all at once"])
def test_a_backlog_of_a_key_several_links_away_makes_no_false_stalls(distance: int, order: str) -> None:
    """Kind: touchpoints of a customer lie under a key that the customer's owner has never heard of."""
    posted = links_and_activity(distance)

    async def run(clock: time_machine.Traveller) -> None:
        engine = await begin(posted)
        keys = ["c"] if order == "all at once" else [key_of(one) for one in posted]
        caught_up: set[int] = set()
        for key in keys if order == "nearest first" else reversed(keys):
            caught_up.add(partition_of(key, PARTITIONS))
            for _ in range(10):
                await look_everywhere(engine, clock, sorted(caught_up))
        await assert_stalls_only_in_the_end(engine, clock, posted)

    with time_machine.travel(BEGIN + timedelta(days=25), tick=False) as clock:
        asyncio.run(run(clock))


@settings(max_examples=int(os.environ.get("TOUCHLINE_EXAMPLES", "25")), deadline=None)
@given(distance=st.integers(1, 4), seed=st.integers(0, 2**32))
# A key's clock had fired before it was linked. The next key took it for its own, and brought it to the customer before
# the first key's touchpoints.
@example(distance=2, seed=9)
@example(distance=4, seed=168)
@example(distance=4, seed=2039)
def test_no_order_in_which_owners_read_publish_and_look_makes_a_false_stall(distance: int, seed: int) -> None:
    posted, choices = links_and_activity(distance), random.Random(seed)

    async def run(clock: time_machine.Traveller) -> None:
        engine = await begin(posted)
        for _ in range(choices.randrange(200)):
            partition = choices.randrange(PARTITIONS)
            match choices.randrange(6):
                case 0:
                    engine.topics.watch()
                case 1:
                    engine.publish(partition, choices.randint(1, 5))
                case 2:
                    await engine.catch_up.exchange()
                    clock.shift(1)
                case 3 if choices.random() < 0.1:
                    await engine.take(partition)
                case _:
                    await engine.step(partition, choices.randint(0, 5), choices.randint(0, 5))
        await assert_stalls_only_in_the_end(engine, clock, posted)

    with time_machine.travel(BEGIN + timedelta(days=25), tick=False) as clock:
        asyncio.run(run(clock))
