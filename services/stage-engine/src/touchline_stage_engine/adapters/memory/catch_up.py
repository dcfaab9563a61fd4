"""How far every partition has been folded and published, in memory."""

from collections.abc import Mapping

from touchline_stage_engine.adapters.memory.database import MemoryDatabase


class MemoryCatchUps:
    """Implements `ports.CatchUpTable`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def save(self, flushed: Mapping[int, int]) -> None:
        stored = self._database.catch_ups
        for partition, at in flushed.items():
            stored[partition] = max(at, stored.get(partition, 0))

    async def load(self) -> Mapping[int, int]:
        return dict(self._database.catch_ups)
