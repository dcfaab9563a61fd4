"""Requests to the owners of partitions, of command lines and of the API: they write no customers' rows themselves."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from aiokafka.errors import KafkaError
from touchline_runtime.errors import Unavailable
from touchline_runtime.kafka import clients as kafka
from touchline_schemas.cloudevents import Headers, to_headers
from touchline_schemas.identity import customer_key
from touchline_schemas.partitions import partition_of
from touchline_schemas.times import from_micros, micros_to_wire
from touchline_schemas.topics import IDENTITY, TOUCHPOINTS, Topic
from touchline_schemas.touchpoint import Touchpoint
from touchline_schemas.touchpoint_types import STAGE_SET, meaning_of

from touchline_stage_engine.adapters.kafka.topics import ensure_topics
from touchline_stage_engine.application.customer_commands import SOURCE
from touchline_stage_engine.application.identities.messages import ERASE_REQUESTED, REBUILD_REQUESTED
from touchline_stage_engine.application.outbox_records import Outgoing, identity_message
from touchline_stage_engine.settings import StageEngineSettings


async def request_erasure(settings: StageEngineSettings, customer_id: str, receipt: UUID, now: int) -> None:
    """Request the erasure of a customer and all their aliases, as of now; what is removed is counted under the receipt.

    Raises:
        Unavailable: Kafka did not take it.
    """
    key = customer_key(customer_id)
    data = {"erased_at": now, "by": None, "receipt": str(receipt)}
    message = identity_message(key, ERASE_REQUESTED, data, micros_to_wire(now))
    await _send(settings, IDENTITY, [(partition_of(key, settings.partitions), message)])


async def request_rebuild(settings: StageEngineSettings, now: int) -> None:
    """Request from every partition to fold all customers again from their touchpoints.

    Raises:
        Unavailable: Kafka did not take it.
    """
    message = identity_message("rebuild", REBUILD_REQUESTED, {}, micros_to_wire(now))
    await _send(settings, IDENTITY, [(partition, message) for partition in range(settings.partitions)])


class KafkaCustomerTopics:
    """Implements `customer_commands.CustomerTopics`."""

    def __init__(self, settings: StageEngineSettings) -> None:
        self._settings = settings

    async def set_stage(self, key: str, lifecycle: str, stage: str, reason: str, touchpoint_id: str, now: int) -> None:
        """Write the touchpoint of a manual move, as ingest would."""
        meaning, at = meaning_of(STAGE_SET), from_micros(now)
        touchpoint = Touchpoint(
            id=touchpoint_id,
            type=STAGE_SET,
            channel=meaning.channel,
            direction=meaning.direction,
            customer_id=key,
            occurred_at=at,
            received_at=at,
            source=SOURCE,
            properties={"lifecycle": lifecycle, "stage": stage, "reason": reason},
        )
        headers = to_headers(
            id=touchpoint_id, type="touchline.touchpoint", source=SOURCE, time=micros_to_wire(now), subject=key
        )
        record = _Record(touchpoint.to_json(), touchpoint.key.encode(), headers)
        await _send(self._settings, TOUCHPOINTS, [(partition_of(touchpoint.key, self._settings.partitions), record)])

    async def erase(self, key: str, receipt: UUID, now: int) -> None:
        await request_erasure(self._settings, key, receipt, now)


class _Record(NamedTuple):
    value: bytes
    key: bytes
    headers: Headers


async def _send(
    settings: StageEngineSettings, topic: Topic, messages: Sequence[tuple[int, Outgoing | _Record]]
) -> None:
    async with kafka.Admin(settings, f"{settings.topic_prefix}-command") as admin:
        await ensure_topics(admin, settings)
    producer = kafka.producer(settings, f"{settings.topic_prefix}-command")
    await kafka.start_when_reachable(producer, settings)
    try:
        for partition, message in messages:
            await producer.send_and_wait(
                topic.full_name(settings.topic_prefix),
                message.value,
                message.key,
                partition,
                headers=message.headers,
            )
    except KafkaError as error:
        raise Unavailable(f"Kafka did not take the request: {error!r}") from None
    finally:
        await producer.stop()
