"""One partition's work, each piece in one fenced transaction: touchpoints, facts, actions whose time has come."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import asyncpg
from aiokafka import ConsumerRecord

from touchline_notifier.adapters import outbox
from touchline_notifier.adapters.barriers import Barrier
from touchline_notifier.adapters.decisions import Desk, Tally, circumstances, decide_due, take_told
from touchline_notifier.adapters.ownership import Owned, advance
from touchline_notifier.adapters.profiles import take_touchpoints
from touchline_notifier.adapters.records import Batch, read_touchpoints

_DUE_AT_ONCE = 200
_LINGER_SECONDS = 1.0
_LINGER_RECORDS = 2000


@dataclass(frozen=True, slots=True)
class HeldFacts:
    """Facts that were read, to be decided once touchpoints have been read up to a barrier.

    Attributes:
        records: how many.
        position: the offset after the last.
        barrier: where the touchpoints ended after the facts were read: whatever caused a fact lies before it, and so
            does everything that was known when it was caused.
        at: when they were read, by the loop's clock.
    """

    batch: Batch
    records: int
    position: int
    barrier: Barrier
    at: float

    @property
    def hurries(self) -> bool:
        """Whether somebody waits for one of them."""
        return any(told.hurries for told in self.batch.told)


@dataclass(slots=True)
class Partition:
    """A partition that this process owns and works on."""

    owned: Owned
    held: deque[HeldFacts] = field(default_factory=deque)
    due_barrier: tuple[Barrier, int] | None = None
    """Where both topics ended when actions were found due: they are decided once both were read up to there."""

    @property
    def held_records(self) -> int:
        """Facts waiting for touchpoints."""
        return sum(facts.records for facts in self.held)

    def lingers(self, now: float) -> bool:
        """Whether what is held tells of the past alone, so that it may wait for more of its kind for a moment."""
        return (
            bool(self.held)
            and now - self.held[0].at < _LINGER_SECONDS
            and self.held_records < _LINGER_RECORDS
            and not any(facts.hurries for facts in self.held)
        )


@dataclass(frozen=True, slots=True)
class Work:
    """How transactions are made. ``clock`` is read once a transaction; ``sending`` is the global switch's setting."""

    connection: asyncpg.Connection
    desk: Desk
    sending: bool
    clock: Callable[[], datetime]

    async def touchpoints(self, partition: Partition, records: Sequence[ConsumerRecord], position: int) -> None:
        """Fold touchpoints into profiles; ``position`` is the offset to read on at afterwards."""
        owned, now = partition.owned, self.clock()
        batch = read_touchpoints(records)
        async with self.connection.transaction():
            await advance(self.connection, owned, position, owned.next_fact)
            await take_touchpoints(
                self.connection, batch.touchpoints, hashes=self.desk.hashes, plays=self.desk.decider.plays, now=now
            )
            await outbox.append(self.connection, owned.partition, batch.dead_letters)
        owned.next_touchpoint = position

    async def stand(self, partition: Partition, position: int) -> None:
        """Note that touchpoints were read up to an offset, past marks of transactions, which are no records."""
        async with self.connection.transaction():
            await advance(self.connection, partition.owned, position, partition.owned.next_fact)
        partition.owned.next_touchpoint = position

    async def facts(self, partition: Partition, ready: Sequence[HeldFacts]) -> Tally:
        """Decide on facts."""
        owned = partition.owned
        position = ready[-1].position
        told = [one for facts in ready for one in facts.batch.told]
        dead_letters = [one for facts in ready for one in facts.batch.dead_letters]
        async with self.connection.transaction():
            await advance(self.connection, owned, owned.next_touchpoint, position)
            moment = await circumstances(self.connection, self.desk, self.clock(), self.sending)
            tally = await take_told(self.connection, told, self.desk, owned.partition, moment)
            await outbox.append(self.connection, owned.partition, dead_letters)
        owned.next_fact = position
        return tally

    async def due(self, partition: Partition) -> Tally:
        """Decide waiting actions whose time has come."""
        owned = partition.owned
        async with self.connection.transaction():
            await advance(self.connection, owned, owned.next_touchpoint, owned.next_fact)
            moment = await circumstances(self.connection, self.desk, self.clock(), self.sending)
            return await decide_due(self.connection, self.desk, owned.partition, moment, _DUE_AT_ONCE)
