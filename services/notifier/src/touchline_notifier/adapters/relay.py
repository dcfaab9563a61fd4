"""The outbox's reading side: publishes what transactions wrote, in order and once.

Each partition's relay first numbers rows (``publish_no``, under the partition's fence), then publishes them in one
Kafka transaction, then deletes them. The transaction also commits, as a consumer group's offset, the highest number it
holds. A relay that takes over finds rows that were numbered and not deleted: they may have been published or not. Its
producer's transactional id fences the predecessor's and ends what that had in flight; then the group's offset says
exactly which rows are out already.
"""

import asyncio
from collections.abc import Sequence

import asyncpg
import orjson
import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from touchline_runtime import kafka
from touchline_runtime.closing import cancelled_by_us, let_go
from touchline_runtime.errors import Unavailable
from touchline_runtime.settings import ServiceSettings
from touchline_schemas.topics import RETENTION_ACTIONS, TOPICS

from touchline_notifier.adapters.ownership import NotTheOwnerError, Owned

log = structlog.get_logger(__name__)

_BATCH = 500
_PATIENCE = 30.0
"""Seconds that a transaction may take before the session is begun anew."""

FENCE = """
-- No row: somebody else owns the partition.
SELECT last_publish_no FROM positions WHERE stream = $1 AND partition = $2 AND epoch = $3 FOR UPDATE
"""

NUMBER = """
-- Number what has none yet, in the order of writing. Rows that commit later are numbered later.
WITH fresh AS (
    SELECT id, row_number() OVER (ORDER BY id) AS place
    FROM outbox
    WHERE partition = $1 AND publish_no IS NULL
    ORDER BY id
    LIMIT $3
)
UPDATE outbox SET publish_no = $2 + fresh.place FROM fresh WHERE outbox.id = fresh.id
"""

RAISE_LAST = """
UPDATE positions
SET last_publish_no = greatest(last_publish_no,
                               (SELECT coalesce(max(publish_no), 0) FROM outbox WHERE partition = $2))
WHERE stream = $1 AND partition = $2
"""

CATCH_UP = """
-- A database restored from a backup counts from where it was then: the topics may be further.
UPDATE positions SET last_publish_no = $3 WHERE stream = $1 AND partition = $2 AND last_publish_no < $3
RETURNING 1
"""

NUMBERED = """
SELECT topic, key, headers, value, publish_no
FROM outbox
WHERE partition = $1 AND publish_no IS NOT NULL
ORDER BY publish_no
"""

PUBLISHED = "DELETE FROM outbox WHERE partition = $1 AND publish_no <= $2"

FILLED = "SELECT DISTINCT partition FROM outbox WHERE partition = ANY($1)"


class Relay:
    """Publishes one partition's outbox for as long as this process owns the partition."""

    def __init__(self, settings: ServiceSettings, connection: asyncpg.Connection, owned: Owned) -> None:
        self._settings = settings
        self._connection = connection
        self._owned = owned
        self._producer: AIOKafkaProducer | None = None
        self._topics = {topic.name: topic.full_name(settings.topic_prefix) for topic in TOPICS}
        self._name = f"{settings.topic_prefix}-notifier-relay-{owned.partition}"
        self._group = f"{settings.topic_prefix}.notifier-relay"
        self._progress = TopicPartition(self._topics[RETENTION_ACTIONS.name], owned.partition)

    async def publish(self) -> int:
        """Publish all there is; how many records.

        Raises:
            NotTheOwnerError: somebody else owns the partition.
            Unavailable: Kafka did not take a transaction in time; the next start finds out what became of it.
        """
        try:
            count = 0
            if self._producer is None:
                async with asyncio.timeout(_PATIENCE):
                    self._producer = kafka.producer(
                        self._settings, self._name, transactional_id=self._name, linger_ms=0
                    )
                    await kafka.start_patiently(self._producer, self._settings)
                    count += await self._finish_predecessors()
            while True:
                await self._number()
                rows = await self._connection.fetch(NUMBERED, self._owned.partition)
                if not rows:
                    return count
                async with asyncio.timeout(_PATIENCE):
                    await self._send(rows)
                count += len(rows)
        except (TimeoutError, asyncio.CancelledError):
            if cancelled_by_us():
                raise
            raise Unavailable(f"the relay of partition {self._owned.partition} got no answer from Kafka") from None

    async def close(self) -> None:
        """Let go of the producer; a transaction that is open is left for the successor's start to end."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        if not await let_go(producer.stop(), 3, self._name):
            # aiokafka waits for answers that never come; the connections at least are to go.
            await let_go(producer.client.close(), 1, f"{self._name}-connections")

    async def _finish_predecessors(self) -> int:
        """Delete the numbered rows that are out already, publish the others, and count on from what is out."""
        out = await self._last_published()
        rows = await self._connection.fetch(NUMBERED, self._owned.partition)
        if rows or out > self._owned.last_publish_no:
            await self._forget_through(out)
        if not rows:
            return 0
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

    async def _send(self, rows: Sequence[asyncpg.Record]) -> None:
        producer = self._producer
        assert producer is not None, "publish() starts it"
        last = int(rows[-1]["publish_no"])
        # No context manager: where something goes wrong it would abort, and wait for a Kafka that is away. The next
        # start under this transactional id aborts as well.
        await producer.begin_transaction()
        sent = [
            await producer.send(
                self._topics[row["topic"]],
                row["value"],
                key=row["key"].encode(),
                partition=self._owned.partition,
                headers=[(name, value.encode()) for name, value in orjson.loads(row["headers"])],
            )
            for row in rows
        ]
        await producer.send_offsets_to_transaction({self._progress: last}, self._group)
        await asyncio.gather(*sent)
        await producer.commit_transaction()
        await self._forget_through(last)

    async def _forget_through(self, number: int) -> None:
        async with self._connection.transaction():
            await self._fence()
            owned = self._owned
            await self._connection.execute(PUBLISHED, owned.partition, number)
            if await self._connection.fetchval(CATCH_UP, owned.stream, owned.partition, number):
                log.warning("outbox_renumbered", partition=owned.partition, published=number)

    async def _last_published(self) -> int:
        """The highest number that any relay of this partition has committed; 0 if none ever did."""
        async with kafka.Admin(self._settings, self._name) as admin:
            try:
                offsets = await admin.client.list_consumer_group_offsets(self._group, partitions=[self._progress])
            except AttributeError:  # aiokafka's way to say that the group's coordinator is still loading
                raise Unavailable("the relays' progress can't be read yet") from None
        found = offsets.get(self._progress)
        return 0 if found is None else max(0, int(found.offset))
