"""The engine's partition leases in PostgreSQL: the table `partitions`, one connection for each lease.

Everything an owner writes goes through `PostgresLease.fenced_transaction`. A position is stored by the ids of the
topics: where a topic was deleted and created again, the new one is read from its beginning.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from touchline_partitions.lease import Lease, LeaseTable, acquire
from touchline_runtime.database import pools as database

from touchline_stage_engine.adapters.postgres.faults import database_faults
from touchline_stage_engine.adapters.postgres.partition.row_copies import EncodeRows
from touchline_stage_engine.adapters.postgres.partition.tables import PostgresTables
from touchline_stage_engine.application.ports import PartitionTables
from touchline_stage_engine.application.values import PartitionKey, Position
from touchline_stage_engine.settings import StageEngineSettings

FIND_OWNER = """
SELECT backend_pid, backend_start
FROM partitions
WHERE cluster_id = $1 AND topic_id = $2 AND partition = $3
"""

# The first owner of a partition on this topic. The outbox continues where an earlier topic's owner left it: its rows
# and numbers belong to the customers, not to the topic.
ADD_PARTITION = """
INSERT INTO partitions (
    cluster_id, topic_id, partition, identity_topic_id, owner, last_outbox_id, relayed_through, rebuilds, era
)
SELECT
    $1, $2, $3, $4, $5, coalesce(max(last_outbox_id), 0), coalesce(max(relayed_through), 0),
    coalesce(max(rebuilds), 0), coalesce(max(era), 0)
FROM partitions
WHERE partition = $3
ON CONFLICT DO NOTHING
"""

# Take the partition: from here on, the previous owner cannot write.
CLAIM_PARTITION = """
UPDATE partitions
SET epoch = epoch + 1,
    owner = $5,
    backend_pid = pg_backend_pid(),
    backend_start = (SELECT a.backend_start FROM pg_stat_activity a WHERE a.pid = pg_backend_pid()),
    claimed_at = now(),
    identity_offset = CASE WHEN identity_topic_id = $4 THEN identity_offset ELSE 0 END,
    identity_topic_id = $4
WHERE cluster_id = $1 AND topic_id = $2 AND partition = $3
RETURNING epoch, next_offset, identity_offset, last_outbox_id, relayed_through, rebuilds, generation, era
"""

# The fence: first in every transaction of an owner. No row: another process has the partition, or the position is
# not where this owner left it.
MOVE_POSITION = """
UPDATE partitions
SET next_offset = $7,
    identity_offset = $8
WHERE cluster_id = $1 AND topic_id = $2 AND partition = $3 AND epoch = $4
  AND next_offset = $5 AND identity_offset = $6
RETURNING 1
"""

# The database is behind what the topics hold: count on from there, under an era of its own.
BEGIN_ERA = """
UPDATE partitions
SET era = $5,
    last_outbox_id = $6
WHERE cluster_id = $1 AND topic_id = $2 AND partition = $3 AND epoch = $4
RETURNING 1
"""

RECORD_GENERATION = """
UPDATE partitions
SET generation = $5
WHERE cluster_id = $1 AND topic_id = $2 AND partition = $3 AND epoch = $4
RETURNING 1
"""

TABLE = LeaseTable(FIND_OWNER, ADD_PARTITION, CLAIM_PARTITION, MOVE_POSITION)

# Every statement of the hot path finds its rows by an index. A plan that was made while the tables were small is kept
# and would scan them sequentially once they have grown, so the planner must use indexes.
_PLANS = {"jit": "off", "enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}


async def connect(settings: StageEngineSettings, name: str) -> asyncpg.Connection:
    """A connection with this deployment's tables on its path.

    Raises:
        DatabaseAwayError: the server does not answer.
    """
    with database_faults():
        return await database.connect(
            settings, application_name=name, search_path=f'"{settings.schema_name}"', **_PLANS
        )


class PostgresLease:
    """Implements `ports.PartitionLease`: a connection of its own, and the position that it has written."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        key: PartitionKey,
        lease: Lease,
        position: Position,
        encode_rows: EncodeRows | None = None,
    ) -> None:
        self._connection = connection
        self._lease = lease
        self._tables = PostgresTables(connection, key, position, encode_rows)
        self.key = key
        self.position = position

    @classmethod
    async def acquire(
        cls, settings: StageEngineSettings, key: PartitionKey, owner: str, encode_rows: EncodeRows | None = None
    ) -> "PostgresLease":
        """Take a partition from its present owner, if it has one; `owner` is the worker's name, for people.

        Args:
            encode_rows: encodes rows for COPY; None: asyncpg does.

        Raises:
            DatabaseAwayError: the server does not answer.
        """
        connection = await connect(settings, f"{owner} partition {key.partition}")
        row_key = (key.cluster_id, key.topic_id, key.partition)
        try:
            with database_faults():
                lease, row = await acquire(connection, TABLE, row_key, key.identity_topic_id, owner)
        except BaseException:
            connection.terminate()
            raise
        return cls(connection, key, lease, Position(*row), encode_rows)

    @asynccontextmanager
    async def fenced_transaction(
        self, touchpoints: int | None = None, identity: int | None = None
    ) -> AsyncIterator[PartitionTables]:
        position = self.position
        expected = position.touchpoints, position.identity
        new = (
            position.touchpoints if touchpoints is None else touchpoints,
            position.identity if identity is None else identity,
        )
        with database_faults():
            async with self._lease.fenced_transaction(self._connection, expected, new):
                yield self._tables
        position.touchpoints, position.identity = new

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[PartitionTables]:
        with database_faults():
            yield self._tables

    async def begin_era(self, era: int, last_outbox_id: int) -> None:
        """Record that the topics are ahead of the database: from here on, ids of facts contain the era.

        Raises:
            FencedError: another process has the partition.
        """
        with database_faults():
            await self._lease.fenced(self._connection, BEGIN_ERA, era, last_outbox_id)
        self.position.era, self.position.last_outbox_id = era, last_outbox_id

    async def record_generation(self, generation: int) -> None:
        """Store under which definitions all customers of the partition are folded.

        Raises:
            FencedError: another process has the partition.
        """
        with database_faults():
            await self._lease.fenced(self._connection, RECORD_GENERATION, generation)
        self.position.generation = generation

    async def close(self) -> None:
        self._connection.terminate()
