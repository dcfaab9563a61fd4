"""Files rows under another number of partitions: each under that of the key that it belongs to."""

from collections.abc import Callable, Mapping

import asyncpg
from asyncpg.pool import PoolConnectionProxy

NEW_PARTITIONS = """
CREATE TEMPORARY TABLE new_partitions (
    key        text    PRIMARY KEY COLLATE "C",
    partition  integer NOT NULL
) ON COMMIT DROP
"""

_KEYS_AT_ONCE = 10_000


async def file_by_key(
    connection: asyncpg.Connection | PoolConnectionProxy, columns: Mapping[str, str], place: Callable[[str], int]
) -> dict[str, int]:
    """Write the column ``partition`` of tables anew, within a transaction; returns how many rows of each have changed.

    Args:
        columns: table → the column with the key whose partition its rows are on. Constants.
        place: the new partition of a key.
    """
    await connection.execute(NEW_PARTITIONS)
    keys = " UNION ".join(f"SELECT {column} AS key FROM {table}" for table, column in columns.items())  # noqa: S608
    cursor = await connection.cursor(keys)
    while found := await cursor.fetch(_KEYS_AT_ONCE):
        await connection.copy_records_to_table(
            "new_partitions", records=[(row["key"], place(row["key"])) for row in found]
        )
    await connection.execute("ANALYZE new_partitions")
    rows = {}
    for table, column in columns.items():
        done = await connection.execute(
            f"UPDATE {table} t SET partition = n.partition FROM new_partitions n "  # noqa: S608
            f"WHERE t.{column} = n.key AND t.partition <> n.partition"
        )
        rows[table] = int(done.rpartition(" ")[2])  # "UPDATE 3"
    return rows
