"""The topic of changes of membership, read by a group of its own: sessions that decide do not wait for it."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.kafka import clients as kafka
from touchline_runtime.kafka.shutdown import stop_client
from touchline_schemas.topics import AUDIENCE_CHANGES

from touchline_notifier.application.session_ports import Record

_POLL_MS = 500
_RECORDS_AT_ONCE = 2000


class KafkaAudienceChanges:
    """Implements :class:`~touchline_notifier.application.audiences.AudienceConsumer`."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._topic = AUDIENCE_CHANGES.full_name(settings.topic_prefix)
        self._consumer: AIOKafkaConsumer = kafka.consumer(
            settings,
            f"{settings.topic_prefix}-notifier-audiences",
            auto_offset_reset="earliest",
            group_id=f"{settings.topic_prefix}.notifier-audiences",
            session_timeout_ms=6000,
            heartbeat_interval_ms=1500,
            rebalance_timeout_ms=30000,
        )

    async def start(self, assigned: Callable[[Sequence[int]], Awaitable[None]]) -> None:
        self._consumer.subscribe([self._topic], listener=_RebalanceListener(assigned))
        await kafka.start_when_reachable(self._consumer, self._settings)

    async def fetch(self) -> Mapping[int, Sequence[Record]]:
        fetched = await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=_RECORDS_AT_ONCE)
        return {at.partition: records for at, records in fetched.items()}

    async def seek(self, offsets: Mapping[int, int]) -> None:
        places = {TopicPartition(self._topic, number): offset for number, offset in offsets.items()}
        if not places:
            return
        # While nothing is fetched: see KafkaRecordConsumer.seek.
        self._consumer.pause(*places)
        beginnings = await self._consumer.beginning_offsets(list(places))
        for at, offset in places.items():
            self._consumer.seek(at, max(offset, beginnings[at]))
        self._consumer.resume(*places)

    async def stop(self) -> None:
        """Leave the group, within ten seconds."""
        await stop_client(self._consumer.stop(), 10, "audience-consumer")


class _RebalanceListener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    def __init__(self, assigned: Callable[[Sequence[int]], Awaitable[None]]) -> None:
        self._assigned = assigned

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Whoever reads on finds the positions in the database."""

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """These are read from now on."""
        await self._assigned(sorted(at.partition for at in assigned))
