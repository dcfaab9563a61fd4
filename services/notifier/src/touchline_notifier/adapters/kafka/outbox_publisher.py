"""The outbox publisher: publishes what transactions wrote, in order and once.

Each partition's publisher first numbers rows (``publish_no``, under the partition's fence), then publishes them in one
Kafka transaction that also commits the highest number (``touchline_partitions.outbox_producer``), then deletes them. A
new owner's publisher finds rows that were numbered and not deleted: the committed number says which of them were
published.
"""

from collections.abc import Sequence

import asyncpg
import structlog
from touchline_partitions.outbox_producer import OutboxProducer
from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.errors import Unavailable
from touchline_schemas.topics import RETENTION_ACTIONS, TOPICS

from touchline_notifier.adapters.postgres.outbox import OutboxRow, OutboxRows
from touchline_notifier.application.ports import PartitionLease

log = structlog.get_logger(__name__)

_BATCH = 500


class KafkaOutboxPublisher:
    """Publishes one partition's outbox while this process owns the partition."""

    def __init__(self, settings: ServiceSettings, connection: asyncpg.Connection, lease: PartitionLease) -> None:
        self._lease = lease
        self._rows = OutboxRows(connection, lease)
        self._topics = {topic.name: topic.full_name(settings.topic_prefix) for topic in TOPICS}
        self._producer = OutboxProducer(
            settings,
            transactional_id=f"{settings.topic_prefix}-notifier-relay-{lease.partition}",
            group=f"{settings.topic_prefix}.notifier-relay",
            topic=self._topics[RETENTION_ACTIONS.name],
            partition=lease.partition,
        )
        self._started = False

    async def publish(self) -> int:
        """Publish all there is; how many records.

        Raises:
            FencedError: another process owns the partition.
            Unavailable: Kafka did not answer in time; the next start finds out what was published.
        """
        count = 0
        try:
            if not self._started:
                published = await self._producer.start()
                count += await self._finish_predecessors(published.through)
                self._started = True
            while True:
                await self._rows.number(_BATCH)
                rows = await self._rows.numbered()
                if not rows:
                    return count
                await self._publish(rows)
                count += len(rows)
        except TimeoutError as error:
            raise Unavailable(f"the outbox of partition {self._lease.partition} can't be published: {error}") from None

    async def close(self) -> None:
        """Stop the producer. An open transaction is ended by the next owner's producer when it starts."""
        await self._producer.close()

    async def _finish_predecessors(self, published: int) -> int:
        """Delete the numbered rows that were published, publish the others, and go on counting from there."""
        rows = await self._rows.numbered()
        if rows or published > self._lease.last_publish_no:
            await self._rows.delete_through(published)
        if not rows:
            return 0
        rest = [row for row in rows if row.number > published]
        log.info(
            "outbox_publisher_took_over",
            partition=self._lease.partition,
            published=len(rows) - len(rest),
            left=len(rest),
        )
        if rest:
            await self._publish(rest)
        return len(rest)

    async def _publish(self, rows: Sequence[OutboxRow]) -> None:
        records: dict[tuple[str, int], list[OutboxRow]] = {}
        for row in rows:
            records.setdefault((self._topics[row.topic], self._lease.partition), []).append(row)
        last = rows[-1].number
        await self._producer.publish(records, last)
        await self._rows.delete_through(last)
