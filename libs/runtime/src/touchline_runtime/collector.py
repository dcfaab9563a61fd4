"""Keeping Python's cyclic garbage collector off the hot path.

Reference counting frees what our hot code makes: it leaves no cycles. The collector looks for them all the same each
time so and so many objects have been made, and walks everything young, cold memory mostly: it took a quarter of the
stage engine's time, and a third of ingest's in batches. So it has to wait for a moment when little is under way.
"""

import asyncio
import gc

_EVERY_SECONDS = 10.0
_AGAIN_SECONDS = 1.0
_LITTLE = 50_000
"""Young objects that are walked in some ten milliseconds."""
_NEVER = 1 << 30


def quiet(most: int) -> None:
    """From here on collect by itself only when `most` objects have gathered; what is there now stays for good.

    A bound on memory for the case that a `Collector` never finds a quiet moment: an object in a cycle has some 100
    bytes. Choose it well above what is under way at once.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(most, _NEVER, _NEVER)


class Collector:
    """A component that collects what cycles there are, at moments when little is under way."""

    name = "collector"

    async def run(self, stopping: asyncio.Event) -> None:
        """Look for such a moment every few seconds, until stopping."""
        while not stopping.is_set():
            seconds = _EVERY_SECONDS if collect_if_quiet() else _AGAIN_SECONDS
            try:
                async with asyncio.timeout(seconds):
                    await stopping.wait()
            except TimeoutError:
                pass


def collect_if_quiet() -> bool:
    """Collect what is young, if that is little; whether it was."""
    if gc.get_count()[0] > _LITTLE:
        return False
    gc.collect(1)
    return True
