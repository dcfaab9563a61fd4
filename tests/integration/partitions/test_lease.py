"""Leases on a real PostgreSQL: one owner at a time writes a partition, and writes position and effects together."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest
from touchline_partitions.errors import FencedError
from touchline_partitions.lease import Lease, LeaseTable, acquire

pytestmark = pytest.mark.stack

TABLES = """
CREATE TABLE leases (
    topic          text    NOT NULL,
    partition      integer NOT NULL,
    epoch          bigint  NOT NULL DEFAULT 0,
    backend_pid    integer,
    backend_start  timestamptz,
    next_offset    bigint  NOT NULL DEFAULT 0,
    PRIMARY KEY (topic, partition)
);
CREATE TABLE effects (partition integer NOT NULL, number bigint NOT NULL);
"""
TABLE = LeaseTable(
    find_owner="SELECT backend_pid, backend_start FROM leases WHERE topic = $1 AND partition = $2",
    add="INSERT INTO leases (topic, partition) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    claim="""
        UPDATE leases
        SET epoch = epoch + 1, backend_pid = pg_backend_pid(),
            backend_start = (SELECT a.backend_start FROM pg_stat_activity a WHERE a.pid = pg_backend_pid())
        WHERE topic = $1 AND partition = $2
        RETURNING epoch, next_offset
    """,
    move="""
        UPDATE leases SET next_offset = $5
        WHERE topic = $1 AND partition = $2 AND epoch = $3 AND next_offset = $4
        RETURNING 1
    """,
)
EFFECT = "INSERT INTO effects (partition, number) VALUES ($1, $2)"

Connect = Callable[[str], Awaitable[asyncpg.Connection]]


@pytest.fixture
async def connect(database_url: str) -> AsyncIterator[Connect]:
    """Connections with an application name; the tables exist."""
    opened: list[asyncpg.Connection] = []

    async def connect(name: str) -> asyncpg.Connection:
        opened.append(await asyncpg.connect(database_url, server_settings={"application_name": name}))
        return opened[-1]

    await (await connect("tables")).execute(TABLES)
    yield connect
    for connection in opened:
        connection.terminate()


async def own(connection: asyncpg.Connection, partition: int = 0) -> tuple[Lease, int]:
    lease, row = await acquire(connection, TABLE, ("topic", partition))
    return lease, row["next_offset"]


async def stored(connection: asyncpg.Connection) -> tuple[int, list[int]]:
    """The position, and the effects in order."""
    effects = [row["number"] for row in await connection.fetch("SELECT number FROM effects ORDER BY number")]
    return int(await connection.fetchval("SELECT next_offset FROM leases")), effects


async def test_a_successor_goes_on_where_its_predecessor_committed_and_fences_it(connect: Connect) -> None:
    one, other = await connect("one"), await connect("other")
    first, at = await own(one)
    assert at == 0
    async with first.fenced_transaction(one, [0], [3]):
        await one.execute(EFFECT, 0, 1)
    second, at = await own(other)
    assert (at, second.epoch) == (3, first.epoch + 1)
    with pytest.raises(FencedError):
        async with first.fenced_transaction(one, [3], [5]):
            await one.execute(EFFECT, 0, 2)
    with pytest.raises(FencedError):
        await first.fenced(one, "SELECT 1 FROM leases WHERE topic = $1 AND partition = $2 AND epoch = $3")
    async with second.fenced_transaction(other, [3], [4]):
        await other.execute(EFFECT, 0, 3)
    assert await stored(other) == (4, [1, 3])


async def test_a_failed_transaction_leaves_position_and_effects_as_they_were(connect: Connect) -> None:
    connection = await connect("one")
    lease, _ = await own(connection)

    async def fail() -> None:
        async with lease.fenced_transaction(connection, [0], [5]):
            await connection.execute(EFFECT, 0, 1)
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert await stored(connection) == (0, [])


async def test_a_position_other_than_the_expected_one_is_not_moved(connect: Connect) -> None:
    connection = await connect("one")
    lease, _ = await own(connection)
    with pytest.raises(FencedError):
        async with lease.fenced_transaction(connection, [2], [5]):
            await connection.execute(EFFECT, 0, 1)
    assert await stored(connection) == (0, [])


async def test_an_owner_that_stands_still_inside_a_transaction_is_ended_and_nobody_else(connect: Connect) -> None:
    frozen, publisher, bystander, taker = [await connect(name) for name in ("frozen", "writes-too", "by", "taker")]
    lease, _ = await own(frozen)
    await own(bystander, partition=1)
    standing = lease.fenced_transaction(frozen, [0], [9])
    await standing.__aenter__()
    await frozen.execute(EFFECT, 0, 1)

    taken, row = await acquire(taker, TABLE, ("topic", 0), application_name=lambda pid: "writes-too")
    assert (taken.epoch, row["next_offset"]) == (lease.epoch + 1, 0)
    for ended in (frozen, publisher):
        with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.AdminShutdownError)):
            await ended.fetchval("SELECT 1")
    assert await bystander.fetchval("SELECT 1") == 1
    assert await taker.fetchval("SELECT count(*) FROM effects") == 0


async def test_two_that_acquire_a_new_partition_at_once_both_get_an_epoch_of_their_own(connect: Connect) -> None:
    connections = [await connect(f"c{number}") for number in range(4)]
    leases = [lease for lease, _ in await asyncio.gather(*(own(connection) for connection in connections))]
    assert sorted(lease.epoch for lease in leases) == [1, 2, 3, 4]


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_the_order_of_acquisitions_and_commits_each_record_has_its_effect_once(
    connect: Connect, seed: int
) -> None:
    rng = random.Random(seed)
    connections = [await connect(f"c{number}") for number in range(3)]
    owners: list[tuple[Lease, int] | None] = [None, None, None]
    for _ in range(80):
        number = rng.randrange(3)
        connection, owner = connections[number], owners[number]
        if owner is None or rng.random() < 0.3:
            owners[number] = await own(connection)
            continue
        lease, at = owner
        records = range(at, at + rng.randrange(1, 4))
        try:
            async with lease.fenced_transaction(connection, [at], [records.stop]):
                for record in records:
                    await connection.execute(EFFECT, 0, record)
        except FencedError:
            owners[number] = None
        else:
            owners[number] = lease, records.stop
    position, effects = await stored(connections[0])
    assert effects == list(range(position))
