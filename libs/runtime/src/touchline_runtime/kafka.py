"""Kafka wiring: clients with safe settings, topics created when missing, and the cluster's identity."""

import asyncio
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError, for_code

from touchline_runtime.errors import ConfigurationError, Unavailable
from touchline_runtime.patience import Patience
from touchline_runtime.settings import ServiceSettings

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class WantedTopic:
    """A topic that has to exist, with exactly that many partitions."""

    name: str
    partitions: int
    config: dict[str, str]


def connection(settings: ServiceSettings, client_id: str) -> dict[str, Any]:
    """The arguments that any aiokafka client needs to reach the brokers."""
    settings.need("kafka_bootstrap_servers")
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "client_id": client_id,
        "security_protocol": settings.kafka_security_protocol,
    }
    if settings.kafka_security_protocol.endswith("SSL"):
        arguments["ssl_context"] = ssl.create_default_context(
            cafile=str(settings.kafka_ca_file) if settings.kafka_ca_file else None
        )
    if settings.kafka_security_protocol.startswith("SASL"):
        password = settings.kafka_sasl_password
        arguments |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_sasl_username,
            "sasl_plain_password": password.get_secret_value() if password else None,
        }
    return arguments


def producer(settings: ServiceSettings, client_id: str, **arguments: Any) -> AIOKafkaProducer:
    """A producer that doesn't lose or repeat: acks=all, idempotent. Not started."""
    defaults: dict[str, Any] = {"acks": "all", "enable_idempotence": True, "linger_ms": 5, "max_batch_size": 256 * 1024}
    return AIOKafkaProducer(**connection(settings, client_id) | defaults | arguments)


def consumer(settings: ServiceSettings, client_id: str, *topics: str, **arguments: Any) -> AIOKafkaConsumer:
    """A consumer of committed records that never jumps silently: no automatic commits, no automatic reset. Not started.

    With ``auto_offset_reset="none"`` a position that is gone from the topic is an error for the caller to handle.
    """
    defaults: dict[str, Any] = {
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "isolation_level": "read_committed",
    }
    return AIOKafkaConsumer(*topics, **connection(settings, client_id) | defaults | arguments)


async def start_patiently(client: Any, settings: ServiceSettings) -> None:
    """Start a client, waiting for brokers that are still starting.

    Raises:
        Unavailable: no broker answered within ``startup_timeout_seconds``.
    """
    patience = _patience(settings)
    while True:
        try:
            await client.start()
        except KafkaConnectionError as error:
            await patience.wait(error, _nobody_answered(settings))
        else:
            return


def _patience(settings: ServiceSettings) -> Patience:
    return Patience(f"Kafka at {settings.kafka_bootstrap_servers}", settings.startup_timeout_seconds)


def _nobody_answered(settings: ServiceSettings) -> str:
    return (
        f"no Kafka broker answered at {settings.kafka_bootstrap_servers} within "
        f"{settings.startup_timeout_seconds:g} s: is it running (touchline-devstack status), and is "
        "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS right?"
    )


class Admin:
    """Topics and cluster, through aiokafka's admin client. Use as an async context manager."""

    def __init__(self, settings: ServiceSettings, client_id: str) -> None:
        self._settings = settings
        self._client_id = client_id
        self._client: AIOKafkaAdminClient | None = None

    async def __aenter__(self) -> "Admin":
        patience = _patience(self._settings)
        while True:
            client = AIOKafkaAdminClient(**connection(self._settings, self._client_id))
            try:
                await client.start()
            except (KafkaConnectionError, OSError) as error:
                await client.close()
                await patience.wait(error, _nobody_answered(self._settings))
            else:
                self._client = client
                return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.close()

    @property
    def client(self) -> AIOKafkaAdminClient:
        """aiokafka's own client."""
        assert self._client is not None, "use as an async context manager"
        return self._client

    async def ensure_topics(self, wanted: Iterable[WantedTopic]) -> None:
        """Create the topics that are missing.

        Raises:
            ConfigurationError: a topic exists with another number of partitions: keys would be on other partitions.
        """
        topics = list(wanted)
        existing = set(await self.client.list_topics())
        missing = [topic for topic in topics if topic.name not in existing]
        if missing:
            factor = self._settings.kafka_replication_factor
            response = await self.client.create_topics(
                [
                    NewTopic(
                        name=topic.name,
                        num_partitions=topic.partitions,
                        replication_factor=factor,
                        # aiokafka takes -1 (the broker's default) only beside an assignment, even an empty one.
                        replica_assignments={} if factor == -1 else None,
                        topic_configs=topic.config,
                    )
                    for topic in missing
                ]
            )
            for name, code, *message in response.topic_errors:
                error = for_code(code)
                # Another service may have been quicker.
                if code and error is not TopicAlreadyExistsError:
                    raise ConfigurationError(f"topic {name} can't be created: {error.__name__} {message}")
            log.info("topics_created", topics=[topic.name for topic in missing])
        for topic in topics:
            count = await self._partition_count(topic.name)
            if count != topic.partitions:
                raise ConfigurationError(
                    f"topic {topic.name} has {count} partitions and TOUCHLINE_PARTITIONS says {topic.partitions}. "
                    "Customers are filed by partition, so the count can't change under them: set "
                    f"TOUCHLINE_PARTITIONS={count}, or choose another TOUCHLINE_TOPIC_PREFIX and post the history anew"
                )

    async def _partition_count(self, name: str) -> int:
        # A topic just created takes a moment to be known by every broker.
        for _ in range(100):
            (described,) = await self.client.describe_topics([name])
            if not described["error_code"] and described["partitions"]:
                return len(described["partitions"])
            await asyncio.sleep(0.05)
        raise Unavailable(f"topic {name} was created but the broker does not describe it")

    async def cluster_id(self) -> str:
        """The cluster's id: a position is worth nothing on another cluster."""
        return str((await self.client.describe_cluster())["cluster_id"])


async def answers(admin: Admin) -> None:
    """A health check: a broker answers a metadata request."""
    try:
        await admin.client.describe_cluster()
    except (KafkaError, OSError) as error:
        raise Unavailable(f"Kafka does not answer: {error}") from None
