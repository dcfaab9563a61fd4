"""The tables of the hot path as one partition's connection sees them, and the write that ends every transaction."""

from collections.abc import Sequence

import asyncpg

from touchline_stage_engine.adapters.postgres.audiences.members import PostgresAudiences
from touchline_stage_engine.adapters.postgres.partition.customers import PostgresCustomers
from touchline_stage_engine.adapters.postgres.partition.erasures import PostgresErasures
from touchline_stage_engine.adapters.postgres.partition.history import PostgresHistory
from touchline_stage_engine.adapters.postgres.partition.links import PostgresLinks
from touchline_stage_engine.adapters.postgres.partition.row_copies import EncodeRows, RowCopies
from touchline_stage_engine.adapters.postgres.partition.touchpoints import PostgresTouchpoints
from touchline_stage_engine.application.batches.changes import OUTBOX_COLUMNS, Changes, customer_rows
from touchline_stage_engine.application.outbox_records import in_chunks, pack
from touchline_stage_engine.application.values import PartitionKey, Position

OUTBOX_ROW = 500
OUTBOX_ROW_BYTES = 4 * 1024 * 1024
"""Records in one row of the outbox: a row each would cost PostgreSQL more than the facts themselves."""

# Last in every transaction of an owner, on the row that the fence has locked.
COUNT_UP = """
UPDATE partitions
SET last_outbox_id = $4,
    folded = folded + $5,
    duplicates = duplicates + $6,
    conflicts = conflicts + $7,
    dead_letters = dead_letters + $8,
    erased = erased + $9,
    rebuilds = rebuilds + $10
WHERE cluster_id = $1 AND topic_id = $2 AND partition = $3
"""


class PostgresTables:
    """Implements `ports.PartitionTables`. One for each lease, made once."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        key: PartitionKey,
        position: Position,
        encode_rows: EncodeRows | None = None,
    ) -> None:
        self._connection = connection
        self._key = key
        self._position = position
        self._copies = copies = RowCopies(connection, encode_rows)
        self.customers = PostgresCustomers(connection, copies, key.partition)
        self.touchpoints = PostgresTouchpoints(connection, copies, key.partition)
        self.history = PostgresHistory(connection, copies)
        self.links = PostgresLinks(connection, key.partition)
        self.erasures = PostgresErasures(connection, key.partition)
        self.audiences = PostgresAudiences(connection, key.partition)

    async def write(self, changes: Changes, names: Sequence[str], now: int) -> None:
        await self._count_up(changes)
        await self.history.add(changes.history, changes.checkpoints)
        rows = await customer_rows(changes.customers.values(), names)
        await self.customers.save(rows)
        await self.customers.save_stages(changes.stages.items(), {row[0] for row in rows.added}, now)
        await self.customers.add_aliases(changes.aliases)
        await self.links.write(changes, now)
        outbox, first = [], self._position.last_outbox_id + 1
        for records in in_chunks(changes.outbox, OUTBOX_ROW, OUTBOX_ROW_BYTES):
            outbox.append((self._key.partition, first, first + len(records) - 1, pack(records)))
            first += len(records)
        if outbox:
            await self._copies.copy("outbox", outbox, OUTBOX_COLUMNS)

    async def _count_up(self, changes: Changes) -> None:
        counts, key = changes.counts, self._key
        await self._connection.execute(
            COUNT_UP,
            key.cluster_id,
            key.topic_id,
            key.partition,
            self._position.last_outbox_id + len(changes.outbox),
            counts["folded"],
            counts["duplicates"],
            counts["conflicts"],
            counts["dead_letters"],
            counts["erased"],
            changes.rebuilds,
        )
