"""Where one customer stands: stages in every running lifecycle, aliases, and how much is known of them."""

from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from touchline_schemas.partitions import partition_of
from touchline_schemas.times import from_micros, to_wire

from touchline_stage_engine.adapters.catalogue import Catalogue, Version
from touchline_stage_engine.core.fold import Fold
from touchline_stage_engine.core.publication import Published
from touchline_stage_engine.core.reading import read_definition
from touchline_stage_engine.core.state import StageState
from touchline_stage_engine.core.timeline import UnknownVersionError

# The last touchpoint is looked up: a content that lost to a smaller one is gone from the table, while `seen_at`
# never falls.
CUSTOMER = text("""
    SELECT customer_id, touchpoints, states, merged_into,
           COALESCE(
               (SELECT max(t.occurred_at) FROM touchpoints t WHERE t.customer_id = :customer_id), seen_at
           ) AS last_at
    FROM customers
    WHERE partition = :partition AND customer_id = :customer_id
""")
ALIASES = text("SELECT alias FROM aliases WHERE customer_id = :customer_id ORDER BY alias")
RUNNING = text("""
    SELECT name, version, fingerprint, text, effective_from
    FROM lifecycles
    WHERE running
    ORDER BY name, version
""")


class StandingReads:
    """Reads a customer's standing, over SQLAlchemy."""

    def __init__(self, engine: AsyncEngine, partitions: int) -> None:
        self._engine = engine
        self._partitions = partitions
        self._catalogue: tuple[tuple[Any, ...], Catalogue] | None = None

    async def standing(self, key: str, now: int) -> dict[str, Any] | None:
        """The customer a key belongs to, as JSON; None for a key nobody has seen."""
        async with self._engine.connect() as connection:
            row: Any = None
            # An alias leads to its customer; a second step is needed only while a merge is on its way.
            for _ in range(4):
                found = await connection.execute(
                    CUSTOMER, {"partition": partition_of(key, self._partitions), "customer_id": key}
                )
                row = found.mappings().first()
                if row is None or row["merged_into"] is None:
                    break
                key = row["merged_into"]
            if row is None or row["touchpoints"] == 0:
                return None
            aliases = (await connection.execute(ALIASES, {"customer_id": key})).scalars().all()
            folds = await self._folds(connection, now)
        return {
            "customer_id": key,
            "aliases": list(aliases),
            "touchpoints": row["touchpoints"],
            "last_touchpoint_at": None if row["last_at"] is None else to_wire(from_micros(row["last_at"])),
            "stages": _stages(orjson.loads(bytes(row["states"])), folds),
        }

    async def _folds(self, connection: Any, now: int) -> list[Fold]:
        rows = (await connection.execute(RUNNING)).mappings().all()
        key = tuple((row["name"], row["version"], row["fingerprint"], row["effective_from"]) for row in rows)
        if self._catalogue is None or self._catalogue[0] != key:
            versions = [
                Version(
                    read_definition(row["text"], row["name"]), row["text"], row["fingerprint"], row["effective_from"]
                )
                for row in rows
            ]
            self._catalogue = (key, Catalogue(versions))
        return self._catalogue[1].folds(now)


def _stages(states: dict[str, Any], folds: list[Fold]) -> dict[str, Any]:
    stages = {}
    for fold in folds:
        dumped, published, _ = states.get(fold.name, (None, None, 0))
        if dumped is None:
            continue
        try:
            state = StageState.load(dumped, fold.timeline)
        except UnknownVersionError:
            continue  # being folded again under new definitions
        due = state.next_due
        stages[fold.name] = {
            "stage": state.stage.name,
            "entered_at": to_wire(from_micros(state.entered_at)),
            "sequence": Published.load(published).sequence,
            "version": state.stage.version,
            "stalled_level": state.level,
            "due_at": None if due is None else to_wire(from_micros(due)),
        }
    return stages
