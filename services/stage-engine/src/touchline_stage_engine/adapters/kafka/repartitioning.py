"""The topics of a deployment, given another number of partitions while nobody reads or writes them.

Records are copied exactly once: each transaction also commits, for a group that is named after the topic's id, how far
the source has been copied. A copy that was interrupted goes on from there.
"""

import asyncio
from collections.abc import Callable, Mapping

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import ConsumerRecord
from touchline_partitions.outbox_producer import progress_of
from touchline_partitions.topic_ids import topic_ids
from touchline_runtime.errors import ConfigurationError, Unavailable
from touchline_runtime.kafka import clients as kafka
from touchline_schemas.partitions import partition_of_bytes
from touchline_schemas.topics import CUSTOMER_STAGES, IDENTITY, STAGE_CHANGES, TOPICS, TOUCHPOINTS, Topic

from touchline_stage_engine.adapters.kafka.topics import find_inputs
from touchline_stage_engine.application.repartition import InputIds, Progress, StoredPosition, keeps_records
from touchline_stage_engine.settings import StageEngineSettings

_RECORDS_AT_ONCE = 5000
_TRANSACTION_TIMEOUT_MS = 60_000
_MEMBERS_WAIT_SECONDS = 20.0
"""How long members of a group are waited for: a static member stays until its session has timed out."""
_DELETION_WAIT_SECONDS = 60.0
_SET_FOR_THE_TOPIC = 1
"""The source of a topic's setting that was made for this topic (Kafka's ConfigSource.DYNAMIC_TOPIC_CONFIG)."""

_NOTHING = StoredPosition(0, 0, 0, 0)

Place = Callable[[ConsumerRecord], int]
"""The partition that a copied record goes to."""


class KafkaRepartitionTopics:
    """Implements `repartition.RepartitionTopics`."""

    def __init__(self, settings: StageEngineSettings, admin: kafka.Admin) -> None:
        self._settings = settings
        self._admin = admin
        self._client_id = f"{settings.topic_prefix}-repartition"

    def _name(self, topic: Topic) -> str:
        return topic.full_name(self._settings.topic_prefix)

    async def check(self, before: int) -> None:
        wanted = [self._name(topic) for topic in TOPICS if not topic.one_partition]
        for name, count in (await self._counts(wanted)).items():
            if count != before:
                raise ConfigurationError(
                    f"topic {name} has {'no' if count is None else count} partitions, and the database's customers are "
                    f"filed by {before}: start the services once with TOUCHLINE_PARTITIONS={before}, so that the "
                    "topics are there"
                )
        for group in ("stage-engine", "notifier"):
            await self._await_empty(f"{self._settings.topic_prefix}.{group}")

    async def _await_empty(self, group: str) -> None:
        deadline = asyncio.get_running_loop().time() + _MEMBERS_WAIT_SECONDS
        while members := await self._members(group):
            if asyncio.get_running_loop().time() > deadline:
                raise ConfigurationError(f"the consumer group {group} has {members} members: stop every service first")
            await asyncio.sleep(0.5)

    async def _members(self, group: str) -> int:
        answers = await self._admin.client.describe_consumer_groups([group])
        members = 5  # after error code, group, state, protocol type and protocol
        return sum(len(described[members]) for answer in answers for described in answer.groups)

    async def check_read(self, positions: Mapping[int, StoredPosition]) -> None:
        touchpoints, messages = self._name(TOUCHPOINTS), self._name(IDENTITY)
        read: dict[TopicPartition, int] = {}
        for partition in range((await self._counts([touchpoints]))[touchpoints] or 0):
            at = positions.get(partition, _NOTHING)
            read[TopicPartition(touchpoints, partition)] = at.touchpoints
            read[TopicPartition(messages, partition)] = at.identity
        if (unread := await self._first_with_records_after(read)) is not None:
            raise ConfigurationError(
                f"partition {unread.partition} of {unread.topic} has records that are not folded: stop ingest and the "
                "notifier, let the stage engine read everything (lag 0), then stop it"
            )
        facts = [TopicPartition(self._name(STAGE_CHANGES), partition) for partition in positions]
        group = f"{self._settings.topic_prefix}.relay"
        offsets = await self._admin.client.list_consumer_group_offsets(group, partitions=facts)
        for one in facts:
            at = positions[one.partition]
            if max(at.published_through, progress_of(offsets, one).through) < at.last_outbox_id:
                raise ConfigurationError(
                    f"facts of partition {one.partition} are not published yet: start the stage engine, and stop it "
                    "when touchline_outbox_waiting_records is 0"
                )

    async def _first_with_records_after(self, offsets: Mapping[TopicPartition, int]) -> TopicPartition | None:
        """A partition with committed records: ends alone do not tell, since transactions end with a marker."""
        reader = await self._reader()
        try:
            partitions = list(offsets)
            reader.assign(partitions)
            for partition, offset in offsets.items():
                await _go_to(reader, partition, offset)
            while not await _at_end(reader, partitions):
                for found in await reader.getmany(timeout_ms=200, max_records=1):
                    return found
            return None
        finally:
            await reader.stop()

    async def move(self, topic: Topic, before: int, after: int, progress: Progress) -> int:
        name, staging = self._name(topic), f"{self._name(topic)}.repartition"
        counts = await self._counts([name, staging])
        present, staged = counts[name], counts[staging]
        if present == after and staged is None:
            return 0
        copied = 0
        if present == before:
            if keeps_records(topic):
                progress(f"{name}: copied to {staging}")
                await self._create(staging, after, await self._settings_of(name))
                copied = staged = await self._copy(name, staging, lambda record: _partition_of(topic, record, after))
            await self._delete(name)
        elif present not in (None, after):
            raise ConfigurationError(f"topic {name} has {present} partitions, and {before} or {after} were expected")
        progress(f"{name}: created with {after} partitions")
        configured = topic.config() if staged is None else await self._settings_of(staging)
        await self._create(name, after, configured)
        if staged is not None:
            copied = max(copied, await self._copy(staging, name, lambda record: int(record.partition)))
            await self._delete(staging)
        return copied

    async def inputs(self) -> InputIds:
        found = await find_inputs(self._admin, self._settings)
        return InputIds(found.cluster_id, found.touchpoints_id, found.identity_id)

    async def ends(self) -> dict[int, int]:
        reader = await self._reader()
        try:
            partitions = await self._partitions(self._name(TOUCHPOINTS))
            ends = await reader.end_offsets(partitions)
            return {one.partition: ends[one] for one in partitions}
        finally:
            await reader.stop()

    async def _counts(self, names: list[str]) -> dict[str, int | None]:
        """Topic → its number of partitions; None: it does not exist."""
        existing = set(await self._admin.client.list_topics())
        found: dict[str, int | None] = dict.fromkeys(names)
        for described in await self._admin.client.describe_topics([name for name in names if name in existing]):
            found[described["topic"]] = len(described["partitions"])
        return found

    async def _partitions(self, name: str) -> list[TopicPartition]:
        count = (await self._counts([name]))[name] or 0
        return [TopicPartition(name, partition) for partition in range(count)]

    async def _settings_of(self, name: str) -> dict[str, str]:
        """What was set for a topic: operators may have changed it since its creation."""
        resource = ConfigResource(ConfigResourceType.TOPIC, name)
        found: dict[str, str] = {}
        for answer in await self._admin.client.describe_configs([resource]):
            for *_, entries in answer.resources:
                found |= {key: value for key, value, _, source, *_ in entries if source == _SET_FOR_THE_TOPIC}
        return found

    async def _create(self, name: str, partitions: int, configured: Mapping[str, str]) -> None:
        await self._admin.ensure_topics([kafka.WantedTopic(name, partitions, dict(configured))])

    async def _delete(self, name: str) -> None:
        await self._admin.client.delete_topics([name])
        deadline = asyncio.get_running_loop().time() + _DELETION_WAIT_SECONDS
        while name in await self._admin.client.list_topics():
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable(f"Kafka has not deleted topic {name}: is delete.topic.enable=true? Then run it again")
            await asyncio.sleep(0.1)

    async def _reader(self) -> AIOKafkaConsumer:
        reader = kafka.consumer(self._settings, self._client_id, group_id=None, auto_offset_reset="earliest")
        await kafka.start_when_reachable(reader, self._settings)
        return reader

    async def _copy(self, source: str, target: str, place: Place) -> int:
        """Copy all records that were not copied before, in order within each partition; how many."""
        partitions = await self._partitions(source)
        group = f"{self._settings.topic_prefix}.repartition.{(await topic_ids(self._admin, [source]))[source]}"
        offsets = await self._admin.client.list_consumer_group_offsets(group, partitions=partitions)
        writer = kafka.producer(
            self._settings, self._client_id, transactional_id=self._client_id,
            transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS, max_request_size=16 * 1024 * 1024,
        )  # fmt: skip
        reader = await self._reader()
        try:
            await kafka.start_when_reachable(writer, self._settings)
            reader.assign(partitions)
            for partition in partitions:
                await _go_to(reader, partition, progress_of(offsets, partition).through)
            copied = 0
            while not await _at_end(reader, partitions):
                found = await reader.getmany(timeout_ms=200, max_records=_RECORDS_AT_ONCE)
                if found:
                    positions = {partition: await reader.position(partition) for partition in found}
                    records = [record for several in found.values() for record in several]
                    await _write(writer, target, place, records, positions, group)
                    copied += len(records)
            return copied
        finally:
            await reader.stop()
            await writer.stop()


def _partition_of(topic: Topic, record: ConsumerRecord, partitions: int) -> int:
    """Where a record belongs: by its customer, and what names no customer by where it was."""
    key: bytes | None = record.key
    if key is None:
        return int(record.partition) % partitions
    if topic is CUSTOMER_STAGES:
        # customer_id/lifecycle, on the customer's partition.
        key = key.rpartition(b"/")[0]
    return partition_of_bytes(key, partitions)


async def _go_to(reader: AIOKafkaConsumer, partition: TopicPartition, offset: int) -> None:
    if offset:
        reader.seek(partition, offset)
    else:
        await reader.seek_to_beginning(partition)


async def _at_end(reader: AIOKafkaConsumer, partitions: list[TopicPartition]) -> bool:
    ends = await reader.end_offsets(partitions)
    for partition in partitions:
        if await reader.position(partition) < ends[partition]:
            return False
    return True


async def _write(
    writer: AIOKafkaProducer,
    target: str,
    place: Place,
    records: list[ConsumerRecord],
    positions: Mapping[TopicPartition, int],
    group: str,
) -> None:
    async with writer.transaction():
        sent = [
            await writer.send(
                target,
                record.value,
                record.key,
                place(record),
                timestamp_ms=record.timestamp,
                headers=list(record.headers),
            )
            for record in records
        ]
        await writer.send_offsets_to_transaction(dict(positions), group)
        await asyncio.gather(*sent)
