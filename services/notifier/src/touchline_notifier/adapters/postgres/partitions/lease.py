"""The notifier's partition leases in PostgreSQL: the table `positions`. One connection holds all leases of a session.

A position is stored with the ids of the topics: where a topic was deleted and created again, the new one is read from
its beginning. Facts that were seen before are known by their ids.
"""

import asyncpg
from touchline_partitions import lease as leases
from touchline_partitions.lease import Lease, LeaseTable

from touchline_notifier.adapters.kafka.topics import Inputs
from touchline_notifier.application.ports import PartitionLease

FIND_OWNER = """
SELECT owner_pid AS backend_pid, owner_started AS backend_start
FROM positions
WHERE stream = $1 AND partition = $2
"""

ADD_PARTITION = """
INSERT INTO positions (stream, partition, epoch, touchpoints_topic_id, facts_topic_id)
VALUES ($1, $2, 0, $3, $4)
ON CONFLICT DO NOTHING
"""

CLAIM_PARTITION = """
-- Take a partition over: its former owner cannot write any more.
UPDATE positions
SET epoch                = epoch + 1,
    owner_pid            = pg_backend_pid(),
    owner_started        = (SELECT a.backend_start FROM pg_stat_activity a WHERE a.pid = pg_backend_pid()),
    next_touchpoint      = CASE WHEN touchpoints_topic_id <> $3 THEN 0 ELSE next_touchpoint END,
    next_fact            = CASE WHEN facts_topic_id <> $4 THEN 0 ELSE next_fact END,
    read_through         = CASE WHEN touchpoints_topic_id <> $3 OR facts_topic_id <> $4 THEN NULL ELSE read_through END,
    touchpoints_topic_id = $3,
    facts_topic_id       = $4
WHERE stream = $1 AND partition = $2
RETURNING epoch, next_touchpoint, next_fact, last_publish_no
"""

MOVE_POSITION = """
-- The fence: no row means that another process owns the partition, and this transaction must not commit.
UPDATE positions
SET next_touchpoint = $6, next_fact = $7
WHERE stream = $1 AND partition = $2 AND epoch = $3 AND next_touchpoint = $4 AND next_fact = $5
RETURNING epoch
"""

TABLE = LeaseTable(FIND_OWNER, ADD_PARTITION, CLAIM_PARTITION, MOVE_POSITION)


def publisher_name(owner_pid: int) -> str:
    """The application name of the outbox publisher's connection, by which a new owner finds it."""
    return f"touchline-notifier-relay-of-{owner_pid}"


def fence(lease: PartitionLease) -> Lease:
    """The lease as statements check it."""
    return Lease(TABLE, (lease.stream, lease.partition), lease.epoch)


async def acquire(connection: asyncpg.Connection, inputs: Inputs, partition: int) -> PartitionLease:
    """Take a partition over.

    A former owner that was stopped in the middle of a transaction (or its outbox publisher) holds the row's lock: then
    its two backends are ended.
    """
    stream, topic_ids = inputs.stream, (inputs.touchpoints_topic_id, inputs.facts_topic_id)
    _, row = await leases.acquire(connection, TABLE, (stream, partition), *topic_ids, application_name=publisher_name)
    return PartitionLease(stream, partition, *row)
