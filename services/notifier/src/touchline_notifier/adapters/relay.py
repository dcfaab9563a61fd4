"""The outbox's reading side: publishes what transactions wrote, in order and once.

Each partition's relay first numbers rows (``publish_no``, under the partition's fence), then publishes them in one
Kafka transaction, each record with its number in a header, then deletes them. A relay that takes over finds rows that
were numbered and not deleted: they may have been published or not. Its producer's transactional id fences the
predecessor's and ends what that had in flight; then the highest number on the output says which rows are out already.
"""

from collections.abc import Iterable

import asyncpg
import orjson
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from touchline_runtime import kafka
from touchline_runtime.settings import ServiceSettings
from touchline_schemas.topics import RETENTION_ACTIONS, TOPICS

from touchline_notifier.adapters.ownership import NotTheOwnerError, Owned

log = structlog.get_logger(__name__)

PUBLISH_NO = "touchline-publish-no"
"""The header that carries a record's number; subscribers need not care."""

_BATCH = 500
_TAIL = 100

FENCE = """
-- No row: somebody else owns the partition.
SELECT last_publish_no FROM notifier.positions WHERE stream = $1 AND partition = $2 AND epoch = $3 FOR UPDATE
"""

NUMBER = """
-- Number what has none yet, in the order of writing. Rows that commit later are numbered later.
WITH fresh AS (
    SELECT id, row_number() OVER (ORDER BY id) AS place
    FROM notifier.outbox
    WHERE partition = $1 AND publish_no IS NULL
    ORDER BY id
    LIMIT $3
)
UPDATE notifier.outbox SET publish_no = $2 + fresh.place FROM fresh WHERE outbox.id = fresh.id
"""

RAISE_LAST = """
UPDATE notifier.positions
SET last_publish_no = greatest(last_publish_no,
                               (SELECT coalesce(max(publish_no), 0) FROM notifier.outbox WHERE partition = $2))
WHERE stream = $1 AND partition = $2
"""

NUMBERED = """
SELECT topic, key, headers, value, publish_no
FROM notifier.outbox
WHERE partition = $1 AND publish_no IS NOT NULL
ORDER BY publish_no
"""

PUBLISHED = "DELETE FROM notifier.outbox WHERE partition = $1 AND publish_no <= $2"

FILLED = "SELECT DISTINCT partition FROM notifier.outbox WHERE partition = ANY($1)"


class Relay:
    """Publishes one partition's outbox for as long as this process owns the partition."""

    def __init__(self, settings: ServiceSettings, connection: asyncpg.Connection, owned: Owned) -> None:
        self._settings = settings
        self._connection = connection
        self._owned = owned
        self._producer: AIOKafkaProducer | None = None
        self._topics = {topic.name: topic.full_name(settings.topic_prefix) for topic in TOPICS}

    async def publish(self) -> int:
        """Publish all there is; how many records.

        Raises:
            NotTheOwnerError: somebody else owns the partition.
        """
        count = 0
        if self._producer is None:
            self._producer = await self._start()
            count += await self._finish_predecessors()
        while True:
            await self._number()
            rows = await self._connection.fetch(NUMBERED, self._owned.partition)
            if not rows:
                return count
            await self._send(rows)
            count += len(rows)

    async def close(self) -> None:
        """Let go of the producer."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def _start(self) -> AIOKafkaProducer:
        name = f"{self._settings.topic_prefix}-notifier-relay-{self._owned.partition}"
        producer = kafka.producer(self._settings, name, transactional_id=name, linger_ms=0)
        await kafka.start_patiently(producer, self._settings)
        return producer

    async def _finish_predecessors(self) -> int:
        """Delete the numbered rows that are out already, publish the others."""
        rows = await self._connection.fetch(NUMBERED, self._owned.partition)
        if not rows:
            return 0
        out = await self._last_published()
        async with self._connection.transaction():
            await self._fence()
            await self._connection.execute(PUBLISHED, self._owned.partition, out)
        rest = [row for row in rows if row["publish_no"] > out]
        log.info("relay_took_over", partition=self._owned.partition, published=len(rows) - len(rest), left=len(rest))
        if rest:
            await self._send(rest)
        return len(rest)

    async def _fence(self) -> int:
        owned = self._owned
        last = await self._connection.fetchval(FENCE, owned.stream, owned.partition, owned.epoch)
        if last is None:
            raise NotTheOwnerError(f"partition {owned.partition} has another owner")
        return int(last)

    async def _number(self) -> None:
        async with self._connection.transaction():
            last = await self._fence()
            await self._connection.execute(NUMBER, self._owned.partition, last, _BATCH)
            await self._connection.execute(RAISE_LAST, self._owned.stream, self._owned.partition)

    async def _send(self, rows: Iterable[asyncpg.Record]) -> None:
        assert self._producer is not None, "publish() starts it"
        last = 0
        async with self._producer.transaction():
            for row in rows:
                headers = [(name, value.encode()) for name, value in orjson.loads(row["headers"])]
                last = row["publish_no"]
                await self._producer.send(
                    self._topics[row["topic"]],
                    row["value"],
                    key=row["key"].encode(),
                    partition=self._owned.partition,
                    headers=[*headers, (PUBLISH_NO, str(last).encode())],
                )
        async with self._connection.transaction():
            await self._fence()
            await self._connection.execute(PUBLISHED, self._owned.partition, last)

    async def _last_published(self) -> int:
        """The highest number among the newest records of the output; 0 if there is none."""
        output = TopicPartition(self._topics[RETENTION_ACTIONS.name], self._owned.partition)
        reader = kafka.consumer(self._settings, f"{self._settings.topic_prefix}-notifier-relay-tail", group_id=None)
        await kafka.start_patiently(reader, self._settings)
        try:
            reader.assign([output])
            beginning = (await reader.beginning_offsets([output]))[output]
            end = (await reader.end_offsets([output]))[output]
            back = _TAIL
            while True:
                start = max(beginning, end - back)
                found = await _highest(reader, output, start, end)
                if found or start == beginning:
                    return found
                back *= 4
        finally:
            await reader.stop()


async def _highest(reader: AIOKafkaConsumer, output: TopicPartition, start: int, end: int) -> int:
    reader.seek(output, start)
    highest = 0
    while await reader.position(output) < end:
        for records in (await reader.getmany(output, timeout_ms=500)).values():
            for record in records:
                for name, value in record.headers:
                    if name == PUBLISH_NO:
                        highest = max(highest, int(value))
    return highest
