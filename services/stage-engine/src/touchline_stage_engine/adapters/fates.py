"""What becomes of touchpoints that are read and not folded: noted, so that whoever sent one can ask."""

from typing import Literal, NamedTuple, TypeAlias

import asyncpg
import orjson

from touchline_stage_engine.adapters import statements
from touchline_stage_engine.adapters.decoding import Poison, touchpoint_hash

Fate: TypeAlias = Literal["duplicate", "conflict", "refused", "erased"]
_LONGEST = 1000


class _Told(NamedTuple):
    times: int
    reason: str | None
    error: str | None
    origin: str | None


class Fates:
    """One batch's fates, by the hash of (source, id)."""

    def __init__(self) -> None:
        self._noted: dict[tuple[int, Fate], _Told] = {}

    def note(self, hash_: int, fate: Fate, poison: Poison | None = None, origin: str | None = None) -> None:
        """It has happened once more; of a refusal, why and where."""
        before = self._noted.get((hash_, fate))
        times = 1 if before is None else before.times + 1
        reason, error = (None, None) if poison is None else (poison.reason, poison.error[:_LONGEST])
        self._noted[hash_, fate] = _Told(times, reason, error, origin)

    def refuse(self, value: bytes | None, poison: Poison, origin: str) -> None:
        """A record became a dead letter; noted where it says at least which touchpoint it means to be."""
        try:
            data = orjson.loads(value or b"")
        except orjson.JSONDecodeError:
            return
        if isinstance(data, dict):
            source, id_ = data.get("source"), data.get("id")
            if isinstance(source, str) and isinstance(id_, str):
                self.note(touchpoint_hash(source, id_), "refused", poison, origin)

    async def write(self, connection: asyncpg.Connection, now: int) -> None:
        """Write them."""
        if self._noted:
            rows = [
                (hash_, fate, told.times, told.reason, told.error, told.origin)
                for (hash_, fate), told in self._noted.items()
            ]
            await connection.execute(statements.SAVE_FATES, now, *map(list, zip(*rows, strict=True)))
