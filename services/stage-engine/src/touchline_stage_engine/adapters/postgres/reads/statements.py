"""Run read-only statements of the query API, each in a transaction of its own."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.sql.elements import TextClause
from touchline_schemas.times import from_micros, to_wire

# For one transaction: memory for a hash table of every customer, and several processes.
_OVER_ALL = text("""
    SELECT set_config('work_mem', '128MB', true), set_config('parallel_setup_cost', '0', true),
           set_config('parallel_tuple_cost', '0.001', true)
""")


class Reads:
    """Base of the classes that implement the query ports.

    Args:
        engine: connections to the deployment's schema.
        partitions: number of partitions; customers are found by partition.
    """

    def __init__(self, engine: AsyncEngine, partitions: int = 1) -> None:
        self._engine = engine
        self._partitions = partitions

    async def _rows(self, statement: TextClause, **parameters: Any) -> list[dict[str, Any]]:
        async with self._engine.connect() as connection:
            result = await connection.execute(statement, parameters)
            return [dict(row) for row in result.mappings()]

    async def _rows_over_all(self, statement: TextClause, **parameters: Any) -> list[dict[str, Any]]:
        """The rows of a statement that reads all customers."""
        async with self._engine.connect() as connection:
            await connection.execute(_OVER_ALL)
            result = await connection.execute(statement, parameters)
            return [dict(row) for row in result.mappings()]


def wire_time(micros: int) -> str:
    """RFC 3339 of microseconds since the epoch."""
    return to_wire(from_micros(micros))


def wire_time_or_none(micros: int | None) -> str | None:
    """RFC 3339 of microseconds since the epoch; None stays None."""
    return None if micros is None else wire_time(micros)
