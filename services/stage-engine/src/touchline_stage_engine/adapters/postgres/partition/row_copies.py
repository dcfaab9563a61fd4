"""COPY of rows into a partition's tables: encoded by asyncpg, or by `compiled_copy` where it is built."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeAlias

import asyncpg

Rows: TypeAlias = Sequence[tuple[Any, ...]]
EncodeRows: TypeAlias = Callable[[Rows, bytes], bytes | None]

TYPES_OF_COLUMNS = """
SELECT a.attname AS name, t.typname AS type
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
"""

# Of PostgreSQL's types, those that `compiled_copy.encode_rows` writes.
KINDS = {
    "text": b"t",
    "json": b"t",
    "bytea": b"b",
    "int8": b"8",
    "int4": b"4",
    "int2": b"2",
    "float8": b"f",
    "bool": b"?",
}
_CHUNK = 512 * 1024
"""Bytes of a message: what does not fit into the socket's buffers waits between two of them."""


def compiled_encoder() -> EncodeRows | None:
    """The compiled encoder; None where it is not built for this Python."""
    try:
        from touchline_stage_engine.adapters.postgres.partition import compiled_copy
    except ImportError:
        return None
    return compiled_copy.encode_rows


class RowCopies:
    """Copies rows into the tables of one connection.

    Args:
        encode: rows, kinds of the columns → a COPY stream; None where asyncpg has to judge a value. None: asyncpg
            encodes all rows.
    """

    def __init__(self, connection: asyncpg.Connection, encode: EncodeRows | None = None) -> None:
        self._connection = connection
        self._encode = encode
        self._kinds: dict[tuple[str, Sequence[str]], bytes | None] = {}

    async def copy(self, table: str, rows: Rows, columns: Sequence[str]) -> None:
        """Copy rows into a table.

        Args:
            columns: their names, the same object at every call for a table.
        """
        if self._encode is not None:
            key = table, tuple(columns)
            if key not in self._kinds:
                self._kinds[key] = await self._find_kinds(table, columns)
            kinds = self._kinds[key]
            stream = None if kinds is None else self._encode(rows, kinds)
            if stream is not None:
                # As a view: asyncpg takes bytes for the path of a file.
                source: Any = memoryview(stream) if len(stream) <= _CHUNK else _chunks(memoryview(stream))
                await self._connection.copy_to_table(table, source=source, columns=columns, format="binary")
                return
        await self._connection.copy_records_to_table(table, records=rows, columns=columns)

    async def _find_kinds(self, table: str, columns: Sequence[str]) -> bytes | None:
        rows = await self._connection.fetch(TYPES_OF_COLUMNS, table)
        types = {row["name"]: row["type"] for row in rows}
        kinds = [KINDS.get(types[column]) for column in columns]
        return None if None in kinds else b"".join(kind for kind in kinds if kind is not None)


async def _chunks(stream: memoryview) -> AsyncIterator[memoryview]:
    for begin in range(0, len(stream), _CHUNK):
        yield stream[begin : begin + _CHUNK]
