"""Kafka wiring: clients with safe settings, topics created when missing, and the cluster's identity."""

import asyncio
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import aiokafka.client
import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError, for_code

from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.errors import ConfigurationError, Unavailable
from touchline_runtime.kafka import closed_connections, header_names
from touchline_runtime.kafka.background_tasks import Consumer, Producer
from touchline_runtime.kafka.faults import remedy
from touchline_runtime.kafka.security import tls_context, token_provider
from touchline_runtime.process.sockets import keep_alive
from touchline_runtime.process.startup_retry import NAME_SECONDS, StartupRetry

log = structlog.get_logger(__name__)

_SILENT = "the connection is open and no broker answers on it: is this the port of a Kafka broker?"

_create_connection = aiokafka.client.create_conn


async def _create_kept_alive(*arguments: Any, **more: Any) -> Any:
    connection = await _create_connection(*arguments, **more)
    keep_alive(connection._writer and connection._writer.transport)
    return connection


# aiokafka has no option for its sockets; every client of the process gets its connections from here.
aiokafka.client.create_conn = _create_kept_alive
closed_connections.install()
header_names.install()


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
        arguments["ssl_context"] = tls_context(settings)
    if settings.kafka_security_protocol.startswith("SASL"):
        arguments["sasl_mechanism"] = settings.kafka_sasl_mechanism
        if settings.kafka_sasl_mechanism == "OAUTHBEARER":
            arguments["sasl_oauth_token_provider"] = token_provider(settings)
        else:
            settings.need("kafka_sasl_username", "kafka_sasl_password")
            assert settings.kafka_sasl_password is not None, "need() checked it"
            arguments["sasl_plain_username"] = settings.kafka_sasl_username
            arguments["sasl_plain_password"] = settings.kafka_sasl_password.get_secret_value()
    return arguments


def producer(settings: ServiceSettings, client_id: str, **arguments: Any) -> Producer:
    """A producer that doesn't lose or repeat: acks=all, idempotent. Not started."""
    defaults: dict[str, Any] = {"acks": "all", "enable_idempotence": True, "linger_ms": 5, "max_batch_size": 256 * 1024}
    return Producer(**connection(settings, client_id) | defaults | arguments)


def consumer(settings: ServiceSettings, client_id: str, *topics: str, **arguments: Any) -> Consumer:
    """A consumer of committed records that never jumps silently: no automatic commits, no automatic reset. Not started.

    With ``auto_offset_reset="none"`` a position that is gone from the topic is an error for the caller to handle.
    """
    defaults: dict[str, Any] = {
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "isolation_level": "read_committed",
    }
    return Consumer(*topics, **connection(settings, client_id) | defaults | arguments)


async def start_when_reachable(client: Any, settings: ServiceSettings) -> None:
    """Start a client, waiting for brokers that are still starting.

    Raises:
        Unavailable: no broker answered within ``startup_timeout_seconds``.
    """
    retry = _startup_retry(settings)
    while True:
        await _resolve(settings, retry)
        try:
            await retry.watch(client.start(), _SILENT, _no_broker_answered(settings))
        except KafkaConnectionError as error:
            await retry.wait(error, _no_broker_answered(settings))
        except KafkaError as error:
            raise _explained(error) from error
        else:
            return


def _explained(error: KafkaError) -> Exception:
    """A permanent error at start, with its remedy; any other error unchanged."""
    todo = remedy(error)
    return error if todo is None else ConfigurationError(f"Kafka: {error!r}: {todo}")


def addresses(settings: ServiceSettings) -> list[tuple[str, int]]:
    """The (host, port) pairs of ``kafka_bootstrap_servers``."""
    found = []
    for one in settings.kafka_bootstrap_servers.split(","):
        address = one.strip()
        # The colons of an IPv6 address are inside its brackets.
        host, _, port = (address, "", "") if address.endswith("]") else address.partition("]:")
        if not port and not address.startswith("["):
            host, _, port = address.partition(":")
        found.append((host.strip("[]"), int(port or 9092)))
    return found


async def _resolve(settings: ServiceSettings, retry: StartupRetry) -> None:
    """Check that a name among the brokers' addresses resolves; one is enough to find the others.

    Raises:
        ConfigurationError: none does, and hasn't for a few seconds.
    """
    loop = asyncio.get_running_loop()
    while True:
        errors: dict[str, OSError] = {}
        for host, port in addresses(settings):
            try:
                await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError) as error:
                errors[host] = error if isinstance(error, OSError) else OSError(str(error))
            else:
                return
        if not retry.is_younger_than(NAME_SECONDS):
            names = "; ".join(f"{host}: {error.strerror or error}" for host, error in errors.items())
            raise ConfigurationError(
                f"TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS={settings.kafka_bootstrap_servers}: no host name resolves "
                f"({names}): write host:port of a broker"
            )
        await retry.wait(next(iter(errors.values())), _no_broker_answered(settings))


def _startup_retry(settings: ServiceSettings) -> StartupRetry:
    return StartupRetry(f"Kafka at {settings.kafka_bootstrap_servers}", settings.startup_timeout_seconds)


def _no_broker_answered(settings: ServiceSettings) -> str:
    return (
        f"no Kafka broker answered at {settings.kafka_bootstrap_servers} within "
        f"{settings.startup_timeout_seconds:g} s: is it running (touchline-devstack status), and is "
        "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS right?"
    )


def _durability(replication_factor: int) -> dict[str, str]:
    """Topic settings so that an acknowledged record survives the loss of a broker, where there are enough of them."""
    return {"min.insync.replicas": "2"} if replication_factor >= 3 else {}


class Admin:
    """Topics and cluster, through aiokafka's admin client. Use as an async context manager."""

    def __init__(self, settings: ServiceSettings, client_id: str) -> None:
        self._settings = settings
        self._client_id = client_id
        self._client: AIOKafkaAdminClient | None = None

    async def __aenter__(self) -> "Admin":
        retry = _startup_retry(self._settings)
        while True:
            await _resolve(self._settings, retry)
            client = AIOKafkaAdminClient(**connection(self._settings, self._client_id))
            try:
                await retry.watch(client.start(), _SILENT, _no_broker_answered(self._settings))
            except Unavailable:
                await client.close()
                raise
            except (KafkaConnectionError, OSError) as error:
                await client.close()
                await retry.wait(error, _no_broker_answered(self._settings))
            except KafkaError as error:
                await client.close()
                raise _explained(error) from error
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
                        topic_configs=topic.config | _durability(factor),
                    )
                    for topic in missing
                ]
            )
            for name, code, *message in response.topic_errors:
                error = for_code(code)
                # Another service may have created it in the meantime.
                if code and error is not TopicAlreadyExistsError:
                    raise ConfigurationError(f"topic {name} can't be created: {error.__name__} {message}")
            log.info("topics_created", topics=[topic.name for topic in missing])
        for topic in topics:
            count = await self._partition_count(topic.name)
            if count != topic.partitions:
                raise ConfigurationError(
                    f"topic {topic.name} has {count} partitions and TOUCHLINE_PARTITIONS says {topic.partitions}. "
                    f"Customers are filed by partition: set TOUCHLINE_PARTITIONS={count}, or stop every service and "
                    f"change the number with `touchline-stage-engine repartition {topic.partitions}`"
                )
        await self._check_durability([topic.name for topic in topics])

    async def _check_durability(self, names: list[str]) -> None:
        """Warn at start when acknowledged records may be lost with one broker, or can't be acknowledged at all.

        Raises:
            ConfigurationError: a topic wants more replicas in sync than it has.
        """
        try:
            described = await self.client.describe_topics(names)
            responses = await self.client.describe_configs(
                [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
            )
        except (KafkaError, OSError) as error:
            log.warning("topic_durability_unknown", error=repr(error))
            return
        in_sync = {}
        for response in responses:
            for _, _, _, name, entries in response.resources:
                in_sync[name] = next((int(value) for key, value, *_ in entries if key == "min.insync.replicas"), None)
        weak = []
        for topic in described:
            replicas = min((len(one["replicas"]) for one in topic["partitions"]), default=0)
            least = in_sync.get(topic["topic"])
            if least is None or not replicas:
                continue
            if least > replicas:
                raise ConfigurationError(
                    f"topic {topic['topic']} has {replicas} replica(s) and min.insync.replicas={least}: nothing "
                    "written to it can be acknowledged. Add replicas (kafka-reassign-partitions), or lower "
                    "min.insync.replicas"
                )
            if replicas > 1 and least < 2:
                weak.append(topic["topic"])
        if weak:
            log.warning(
                "min_insync_replicas_low", topics=sorted(weak), min_insync_replicas=1,
                advice="acknowledged records are lost with one broker: set min.insync.replicas=2 on these topics",
            )  # fmt: skip

    async def _partition_count(self, name: str) -> int:
        # A topic just created takes a moment to be known by every broker.
        for _ in range(100):
            (described,) = await self.client.describe_topics([name])
            if not described["error_code"] and described["partitions"]:
                return len(described["partitions"])
            await asyncio.sleep(0.05)
        raise Unavailable(f"topic {name} was created but the broker does not describe it")

    async def cluster_id(self) -> str:
        """The cluster's id: a position is not valid on another cluster."""
        return str((await self.client.describe_cluster())["cluster_id"])


async def answers(admin: Admin) -> None:
    """A health check: a broker answers a metadata request."""
    try:
        await admin.client.describe_cluster()
    except (KafkaError, OSError) as error:
        raise Unavailable(f"Kafka does not answer: {error}") from None
