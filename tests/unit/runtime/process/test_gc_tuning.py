import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest
from touchline_runtime.process import gc_tuning


class Knot:
    """An object in a cycle: only the collector can free it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    threshold = gc.get_threshold()
    gc.collect()
    yield
    gc.set_threshold(*threshold)
    gc.unfreeze()
    gc.collect()


def knot() -> weakref.ref[Knot]:
    return weakref.ref(Knot())


def test_cycles_are_collected_when_little_is_under_way() -> None:
    gc_tuning.limit_collections(1_000_000)
    gone = knot()
    assert gone() is not None
    assert gc_tuning.collect_if_few()
    assert gone() is None


def test_nothing_is_walked_while_much_is_under_way() -> None:
    gc_tuning.limit_collections(1_000_000)
    gone = knot()
    under_way: list[list[int]] = [[] for _ in range(60_000)]
    assert not gc_tuning.collect_if_few()
    assert gone() is not None
    under_way.clear()
    assert gc_tuning.collect_if_few()
    assert gone() is None


def test_memory_in_cycles_is_bounded_even_if_no_moment_is_quiet() -> None:
    gc_tuning.limit_collections(1000)
    knots = [knot() for _ in range(10_000)]
    assert sum(gone() is not None for gone in knots) <= 1100


async def test_the_component_collects_at_once_and_stops_when_told() -> None:
    gc_tuning.limit_collections(1_000_000)
    gone, stopping = knot(), asyncio.Event()
    running = asyncio.create_task(gc_tuning.IdleCollector().run(stopping))
    await asyncio.sleep(0)
    assert gone() is None
    stopping.set()
    async with asyncio.timeout(60):
        await running
