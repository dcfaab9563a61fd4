"""What an operator, or a program that writes past ingest, does to a Kafka under test."""

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType


async def set_topic_option(bootstrap: str, topic: str, name: str, value: str) -> None:
    """Set one option of a topic. The topic's other options return to the broker's defaults."""
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await client.start()
    try:
        [answer] = await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {name: value})])
        for code, message, *_ in answer.resources:
            assert code == 0, message
    finally:
        await client.close()


async def refuse_writes(bootstrap: str, topic: str) -> None:
    """Have the broker reject whatever is written to a topic: every record is too large."""
    await set_topic_option(bootstrap, topic, "max.message.bytes", "1")


async def accept_writes(bootstrap: str, topic: str) -> None:
    """Undo :func:`refuse_writes`."""
    await set_topic_option(bootstrap, topic, "max.message.bytes", "1048588")


async def produce(bootstrap: str, topic: str, key: bytes, value: bytes) -> None:
    """Write one record past the services."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        await producer.send_and_wait(topic, value, key=key)
    finally:
        await producer.stop()
