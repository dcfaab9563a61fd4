"""Random touchpoints of keys that link to each other, folded in random batches of random partitions."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from tests.support.engine.memory_engine import MemoryEngine
from tests.support.engine.memory_records import IDENTIFIERS
from tests.support.engine.world import TYPES, touchpoint

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@st.composite
def posted(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Touchpoints of a few keys that link to each other, late ones and repetitions among them."""
    number = draw(st.integers(1, 30))
    made = []
    for index in range(number):
        at = BEGIN + timedelta(hours=draw(st.integers(0, 24 * 120)))
        made.append(
            touchpoint(
                f"t{index}", at, type=draw(st.sampled_from(TYPES)), properties={"score": draw(st.integers(0, 10))},
                machine=draw(st.integers(0, 9)) == 0, **draw(st.sampled_from(IDENTIFIERS)),
            )
        )  # fmt: skip
    return made


async def fold_everything(engine: MemoryEngine, arrivals: list[dict[str, Any]], choices: random.Random) -> None:
    """Post and fold in random batches of random partitions until nothing is left to read."""
    for partition in range(engine.settings.partitions):
        await engine.take(partition)
    left = list(arrivals)
    for _ in range(20_000):
        while left and choices.random() < 0.5:
            engine.topics.post(left.pop())
        unread = engine.unread()
        if not unread:
            if not left:
                return
            continue
        partition = choices.choice(sorted(unread))
        chance = choices.random()
        if chance < 0.1:
            engine.writers[partition].cache.clear()
        elif chance < 0.2:
            await engine.take(partition)
        await engine.fold(partition, choices.randint(0, 6), choices.randint(0, 6))
    raise AssertionError("messages between partitions do not come to an end")
