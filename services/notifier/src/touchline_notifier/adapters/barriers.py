"""How far touchpoints have to be read before a fact is decided on.

A fact waits for its own partition's touchpoints: whatever caused it lies there. Where plays write to customers it waits
for those of all partitions, because somebody who unsubscribes by an address alone is filed under the address, on
another partition than the customer, until the engine has linked the two. How far other processes have read theirs is
in the database; one that stands still for ``PATIENCE`` seconds is not waited for any longer, and the look at the
suppressions just before the send has to do (:mod:`touchline_notifier.adapters.last_word`).
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

import asyncpg
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from touchline_notifier.adapters import decision_sql as sql

log = structlog.get_logger(__name__)

Barrier: TypeAlias = Mapping[int, int]
"""Partition → the offset up to which its touchpoints have to be read."""

PATIENCE = 30.0


class Barriers:
    """Puts barriers up, and says when they are reached."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        connection: asyncpg.Connection,
        *,
        stream: str,
        topic: str,
        partitions: int,
        everywhere: bool,
    ) -> None:
        """Wire them.

        Args:
            topic: the touchpoints' full name.
            everywhere: every fact waits for all partitions, not for its own alone.
        """
        self._consumer = consumer
        self._connection = connection
        self._stream = stream
        self._topic = topic
        self._partitions = partitions
        self._everywhere = everywhere
        self._elsewhere: dict[int, int] = {}
        self._moved_at = 0.0

    async def put_up(self, numbers: Iterable[int]) -> dict[int, Barrier]:
        """For facts of these partitions that were just read: where the touchpoints end by now."""
        wanted = list(numbers)
        asked = range(self._partitions) if self._everywhere else wanted
        ends = await self._consumer.end_offsets([TopicPartition(self._topic, number) for number in asked])
        through = {where.partition: int(end) for where, end in ends.items()}
        return {number: through if self._everywhere else {number: through[number]} for number in wanted}

    async def reached(self, barrier: Barrier, own: Collection[int]) -> bool:
        """Whether the touchpoints have been read that far. Ask when everything fetched has been taken.

        Args:
            own: the partitions that this process reads itself.
        """
        for number in barrier.keys() & own:
            if await self._consumer.position(TopicPartition(self._topic, number)) < barrier[number]:
                return False
        elsewhere = barrier.keys() - own
        return not elsewhere or await self._reached_elsewhere({number: barrier[number] for number in elsewhere})

    async def _reached_elsewhere(self, barrier: Barrier) -> bool:
        rows = await self._connection.fetch(sql.TOUCHPOINTS_READ, self._stream)
        stands = {row["partition"]: row["next_touchpoint"] for row in rows}
        now = asyncio.get_running_loop().time()
        behind = [number for number, offset in barrier.items() if stands.get(number, 0) < offset]
        if not behind or stands != self._elsewhere:
            self._elsewhere, self._moved_at = stands, now
        if behind and now - self._moved_at > PATIENCE:
            log.warning("not_waited_for_others", partitions=sorted(behind), seconds=PATIENCE)
            return True
        return not behind
