"""The fence: taking a partition in the database, and writing only for as long as it is ours.

Everything an owner writes goes through `Ledger.passage`, one transaction whose first statement moves the position
under the conditions that the epoch is still the owner's and the position is where the owner left it. Whoever took the
partition meanwhile has raised the epoch, so a process that slept through its replacement writes nothing.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import structlog
from touchline_runtime import database
from touchline_runtime.database import UNREACHABLE

from touchline_stage_engine.adapters import statements
from touchline_stage_engine.adapters.errors import DatabaseAwayError, FencedError
from touchline_stage_engine.settings import StageEngineSettings

log = structlog.get_logger(__name__)

_AWAY = (
    *UNREACHABLE,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.QueryCanceledError,
    asyncpg.DeadlockDetectedError,
)
_LOCK_TIMEOUT = "1s"
# Every statement of the hot path finds its rows by an index. A plan made while the tables were small would be kept, and
# would read them whole once they have grown: so the planner is told.
_PLANS = {"jit": "off", "enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}


@dataclass(frozen=True)
class Place:
    """Which partition of which topics: a position is worth nothing on another cluster or a topic made anew."""

    cluster_id: str
    topic_id: str
    identity_topic_id: str
    partition: int


@dataclass
class Position:
    """How far an owner has come. Offsets are of the next records to read."""

    epoch: int
    touchpoints: int
    identity: int
    last_outbox_id: int
    relayed_through: int
    rebuilds: int
    generation: int


async def connect(settings: StageEngineSettings, name: str) -> asyncpg.Connection:
    """A connection with this deployment's tables on its path.

    Raises:
        DatabaseAwayError: the server does not answer.
    """
    try:
        return await database.connect(
            settings, application_name=name, search_path=f'"{settings.schema_name}"', **_PLANS
        )
    except UNREACHABLE as error:
        raise DatabaseAwayError(str(error) or type(error).__name__) from error


class Ledger:
    """One partition's hold on the database: a connection of its own, and the position it has written."""

    def __init__(self, connection: asyncpg.Connection, place: Place, position: Position) -> None:
        self.connection = connection
        self.place = place
        self.position = position

    @classmethod
    async def claim(cls, settings: StageEngineSettings, place: Place, owner: str) -> "Ledger":
        """Take a partition, from whoever has it.

        A predecessor that stands still inside a transaction holds the row's lock, and nothing but the end of its
        backend frees it: after a second of waiting, exactly that backend is ended.

        Raises:
            DatabaseAwayError: the server does not answer.
        """
        connection = await connect(settings, f"{owner} partition {place.partition}")
        try:
            position = await cls._take(connection, place, owner)
        except _AWAY as error:
            connection.terminate()
            raise DatabaseAwayError(str(error) or type(error).__name__) from error
        except BaseException:
            connection.terminate()
            raise
        return cls(connection, place, position)

    @staticmethod
    async def _take(connection: asyncpg.Connection, place: Place, owner: str) -> Position:
        key = (place.cluster_id, place.topic_id, place.partition)
        await connection.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT}'")
        while True:
            holder = await connection.fetchrow(statements.FIND_PARTITION, *key)
            if holder is None:
                # Only then: an insert waits for whoever has the row locked, even where it would do nothing.
                await connection.execute(statements.ADD_PARTITION, *key, place.identity_topic_id)
            try:
                row = await connection.fetchrow(statements.CLAIM_PARTITION, *key, place.identity_topic_id, owner)
            except asyncpg.LockNotAvailableError:
                if holder is not None and holder["backend_pid"] is not None:
                    await connection.execute(
                        statements.TERMINATE_BACKEND, holder["backend_pid"], holder["backend_start"]
                    )
                    log.warning("frozen_owner_ended", partition=place.partition, backend_pid=holder["backend_pid"])
                continue
            await connection.execute("SET lock_timeout = 0")
            assert row is not None, "the row was added above, and nobody deletes it"
            return Position(*row)

    @asynccontextmanager
    async def passage(self, touchpoints: int, identity: int) -> AsyncIterator[asyncpg.Connection]:
        """A transaction of the owner that moves the position to these offsets.

        Raises:
            FencedError: the partition is somebody else's, or its position is not where this owner left it.
            DatabaseAwayError: the connection broke, possibly after the commit: claim again, and read the position.
        """
        position, place = self.position, self.place
        try:
            async with self.connection.transaction():
                passed = await self.connection.fetchval(
                    statements.MOVE_POSITION,
                    place.cluster_id,
                    place.topic_id,
                    place.partition,
                    position.epoch,
                    position.touchpoints,
                    position.identity,
                    touchpoints,
                    identity,
                )
                if passed is None:
                    raise FencedError(f"partition {place.partition} was taken by somebody else")
                yield self.connection
        except _AWAY as error:
            raise DatabaseAwayError(str(error) or type(error).__name__) from error
        position.touchpoints, position.identity = touchpoints, identity

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[asyncpg.Connection]:
        """Reads between transactions.

        Raises:
            DatabaseAwayError: the connection broke.
        """
        try:
            yield self.connection
        except _AWAY as error:
            raise DatabaseAwayError(str(error) or type(error).__name__) from error

    async def finish(self, counts: Any, rebuilds: int, outbox_records: int) -> int:
        """Count up, last in a passage; the first outbox id that is free for this passage's records."""
        first = self.position.last_outbox_id + 1
        await self.connection.execute(
            statements.COUNT_UP,
            self.place.cluster_id,
            self.place.topic_id,
            self.place.partition,
            self.position.last_outbox_id + outbox_records,
            counts["folded"],
            counts["duplicates"],
            counts["conflicts"],
            counts["dead_letters"],
            counts["erased"],
            rebuilds,
        )
        return first

    async def close(self) -> None:
        """Let the connection go, at once."""
        self.connection.terminate()
