"""Publishes the lifecycle definitions in force to the lifecycles topic."""

import structlog
from aiokafka.errors import KafkaError
from touchline_runtime.errors import Unavailable
from touchline_runtime.kafka import clients as kafka
from touchline_schemas.cloudevents import to_headers
from touchline_schemas.events.facts import LifecycleDefined
from touchline_schemas.times import from_micros, micros_to_wire
from touchline_schemas.topics import LIFECYCLES

from touchline_stage_engine.application.definitions import Catalogue
from touchline_stage_engine.application.outbox_records import SOURCE
from touchline_stage_engine.settings import StageEngineSettings

log = structlog.get_logger(__name__)


async def announce(catalogue: Catalogue, settings: StageEngineSettings, now: int) -> None:
    """Write every version in force to the lifecycles topic, and a tombstone for each that was withdrawn.

    Repeating it does no harm: the topic is compacted.

    Raises:
        Unavailable: Kafka did not take it.
    """
    topic = LIFECYCLES.full_name(settings.topic_prefix)
    producer = kafka.producer(settings, f"{settings.topic_prefix}-lifecycles")
    await kafka.start_when_reachable(producer, settings)
    try:
        for name, number in catalogue.withdrawn:
            await producer.send_and_wait(topic, None, f"{name}/{number}".encode())
        for version in catalogue.versions:
            definition = version.definition
            key = f"{definition.lifecycle}/{definition.version}"
            event = LifecycleDefined(
                name=definition.lifecycle,
                version=definition.version,
                title=definition.label,
                cyclic=definition.cyclic,
                stages=[stage.name for stage in definition.stages],
                off_path=[stage.name for stage in definition.off_path],
                effective_from=None if version.effective_from is None else from_micros(version.effective_from),
                on_change=definition.on_change,
                definition=version.text,
                sha256=version.fingerprint,
            )
            headers = to_headers(
                id=f"{key}:{version.fingerprint[:16]}",
                type="touchline.lifecycle-defined",
                source=SOURCE,
                time=micros_to_wire(now),
                subject=key,
            )
            await producer.send_and_wait(topic, event.model_dump_json().encode(), key.encode(), headers=headers)
    except KafkaError as error:
        raise Unavailable(f"Kafka did not take the lifecycle definitions: {error!r}") from None
    finally:
        await producer.stop()
    log.info(
        "lifecycles_announced",
        lifecycles=[f"{v.definition.lifecycle}/{v.definition.version}" for v in catalogue.versions],
    )
