"""What command lines ask for: they send messages to the owners of partitions, and write no rows themselves."""

from aiokafka.errors import KafkaError
from touchline_runtime import kafka
from touchline_runtime.errors import Unavailable
from touchline_schemas.identity import customer_key
from touchline_schemas.partitions import partition_of
from touchline_schemas.times import micros_to_wire
from touchline_schemas.topics import IDENTITY

from touchline_stage_engine.adapters import wiring
from touchline_stage_engine.adapters.messages import ERASE_REQUESTED, REBUILD_REQUESTED
from touchline_stage_engine.adapters.outgoing import Outgoing, identity_message
from touchline_stage_engine.settings import StageEngineSettings


async def request_erasure(settings: StageEngineSettings, customer_id: str, now: int) -> None:
    """Ask for the erasure of a customer and all their aliases, as of now.

    Raises:
        Unavailable: Kafka did not take it.
    """
    key = customer_key(customer_id)
    message = identity_message(key, ERASE_REQUESTED, {"erased_at": now, "by": None}, micros_to_wire(now))
    await _send(settings, [(partition_of(key, settings.partitions), message)])


async def request_rebuild(settings: StageEngineSettings, now: int) -> None:
    """Ask every partition to fold everybody again from their touchpoints.

    Raises:
        Unavailable: Kafka did not take it.
    """
    message = identity_message("rebuild", REBUILD_REQUESTED, {}, micros_to_wire(now))
    await _send(settings, [(partition, message) for partition in range(settings.partitions)])


async def _send(settings: StageEngineSettings, messages: list[tuple[int, Outgoing]]) -> None:
    async with kafka.Admin(settings, f"{settings.topic_prefix}-command") as admin:
        await wiring.ensure_topics(admin, settings)
    producer = kafka.producer(settings, f"{settings.topic_prefix}-command")
    await kafka.start_patiently(producer, settings)
    try:
        for partition, message in messages:
            await producer.send_and_wait(
                IDENTITY.full_name(settings.topic_prefix),
                message.value,
                message.key,
                partition,
                headers=message.headers,
            )
    except KafkaError as error:
        raise Unavailable(f"Kafka did not take the request: {error!r}") from None
    finally:
        await producer.stop()
