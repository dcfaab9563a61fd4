"""Keeps Python's cyclic garbage collector off the hot path.

Our hot code makes no reference cycles, so reference counting frees everything. The collector still scans all young
objects whenever enough were made; that took a quarter of the stage engine's time and a third of ingest's in batches.
Here it runs only while few objects are alive.
"""

import asyncio
import gc

_EVERY_SECONDS = 10.0
_AGAIN_SECONDS = 1.0
_LITTLE = 50_000
"""Young objects that a collection scans in about ten milliseconds."""
_NEVER = 1 << 30


def limit_collections(most: int) -> None:
    """From now on, collect automatically only after `most` new objects; never scan the existing ones.

    It bounds memory in case an `IdleCollector` never finds few enough objects: an object in a cycle has about 100
    bytes. Choose it well above the number of objects alive at once.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(most, _NEVER, _NEVER)


class IdleCollector:
    """A component that collects cycles while few objects are alive."""

    name = "garbage-collector"

    async def run(self, stopping: asyncio.Event) -> None:
        """Check every few seconds, until stopping."""
        while not stopping.is_set():
            seconds = _EVERY_SECONDS if collect_if_few() else _AGAIN_SECONDS
            try:
                async with asyncio.timeout(seconds):
                    await stopping.wait()
            except TimeoutError:
                pass


def collect_if_few() -> bool:
    """Collect young objects if there are few of them; return whether it did."""
    if gc.get_count()[0] > _LITTLE:
        return False
    gc.collect(1)
    return True
