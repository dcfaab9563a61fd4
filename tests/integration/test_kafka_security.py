"""Kafka as companies run it: TLS, SASL, OAuth and access lists, on a real broker that refuses by default."""

import asyncio
import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError
from touchline_devstack.processes import Service, command
from touchline_devstack.stack import Stack
from touchline_runtime.config.settings import ServiceSettings, read_settings
from touchline_runtime.errors import ConfigurationError, RuntimeFault
from touchline_runtime.kafka import clients as kafka
from touchline_schemas.topics import TOPICS

from tests.support.secure_kafka import USERS, SecureKafka, secure_kafka, untrusted
from tests.support.waiting import patience, wait_until

pytestmark = pytest.mark.stack
ROOT = Path(__file__).parents[2]
ACLS: dict[str, list[dict[str, Any]]] = json.loads((ROOT / "deploy/helm/touchline/files/acls.json").read_text())
PARTITIONS = 2


@pytest.fixture(scope="module")
def broker(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    with secure_kafka(tmp_path_factory.mktemp("secure-kafka")) as broker:
        yield broker


def variables(broker: SecureKafka, way: str, user: str = "ingest") -> dict[str, Any]:
    """Settings for one way of connecting, by field name."""
    if way == "mutual TLS":
        return {
            "kafka_bootstrap_servers": broker.mutual_tls, "kafka_security_protocol": "SSL",
            "kafka_ca_file": broker.ca, "kafka_cert_file": broker.client_certificate,
        }  # fmt: skip
    common: dict[str, Any] = {
        "kafka_bootstrap_servers": broker.sasl, "kafka_security_protocol": "SASL_SSL", "kafka_ca_file": broker.ca,
        "kafka_sasl_mechanism": way,
    }  # fmt: skip
    if way == "OAUTHBEARER":
        return common | {
            "kafka_oauth_token_url": broker.token_url, "kafka_oauth_client_id": user,
            "kafka_oauth_client_secret": USERS[user],
        }  # fmt: skip
    return common | {"kafka_sasl_username": user, "kafka_sasl_password": USERS[user]}


def settings(**values: Any) -> ServiceSettings:
    return read_settings(ServiceSettings, startup_timeout_seconds=2.0, **values)


@pytest.mark.parametrize("way", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "mutual TLS"])
async def test_a_client_connects_and_is_who_it_says(broker: SecureKafka, topic_prefix: str, way: str) -> None:
    user = "notifier" if way == "mutual TLS" else "ingest"
    topic = f"{topic_prefix}.of-one"
    await create(broker, [NewTopic(topic, 1, 1)])
    cluster = {"type": "cluster", "pattern": "literal", "name": "kafka-cluster", "operations": ["IdempotentWrite"]}
    await broker.allow(user, [cluster], topic_prefix)
    producer = kafka.producer(settings(**variables(broker, way)), "test")
    await producer.start()
    try:
        with pytest.raises(KafkaError, match="TopicAuthorizationFailed"):
            await producer.send_and_wait(topic, b"refused", partition=0)
    finally:
        await producer.stop()
    rule = {"type": "topic", "pattern": "literal", "name": topic, "operations": ["Describe", "Write"]}
    await broker.allow(user, [rule], topic_prefix)
    producer = kafka.producer(settings(**variables(broker, way)), "test")
    await producer.start()
    try:
        await producer.send_and_wait(topic, b"allowed", partition=0)
    finally:
        await producer.stop()


async def test_a_wrong_password_is_refused(broker: SecureKafka) -> None:
    client = kafka.producer(settings(**variables(broker, "PLAIN") | {"kafka_sasl_password": "wrong"}), "test")
    with pytest.raises(KafkaError, match="Unable to bootstrap"):
        await client.start()
    await client.stop()


async def test_a_broker_of_another_authority_or_name_is_not_talked_to(broker: SecureKafka, tmp_path: Path) -> None:
    values = variables(broker, "PLAIN") | {"kafka_ca_file": untrusted(tmp_path)}
    client = kafka.producer(settings(**values), "test")
    with pytest.raises(KafkaError, match="Unable to bootstrap"):
        await client.start()
    await client.stop()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kafka_ca_file": "{missing}"}, "TOUCHLINE_KAFKA_CA_FILE"),
        ({"kafka_ca_file": "{garbage}"}, "TOUCHLINE_KAFKA_CA_FILE"),
        ({"kafka_cert_file": "{garbage}"}, "TOUCHLINE_KAFKA_CERT_FILE"),
    ],
)
async def test_a_file_that_is_no_certificate_is_named(values: dict[str, str], message: str, tmp_path: Path) -> None:
    (tmp_path / "garbage").write_text("no certificate")
    filled = {
        name: value.format(missing=tmp_path / "missing", garbage=tmp_path / "garbage") for name, value in values.items()
    }
    with pytest.raises(ConfigurationError, match=message):
        kafka.connection(settings(kafka_bootstrap_servers="x:1", kafka_security_protocol="SSL", **filled), "test")


async def test_oauth_without_its_settings_or_with_a_wrong_secret_says_so(broker: SecureKafka) -> None:
    values = {"kafka_bootstrap_servers": broker.sasl, "kafka_security_protocol": "SASL_SSL", "kafka_ca_file": broker.ca}
    with pytest.raises(ConfigurationError, match="TOUCHLINE_KAFKA_OAUTH_TOKEN_URL"):
        kafka.connection(settings(**values, kafka_sasl_mechanism="OAUTHBEARER"), "test")
    wrong = settings(**variables(broker, "OAUTHBEARER") | {"kafka_oauth_client_secret": "wrong"})
    with pytest.raises(RuntimeFault, match="TOUCHLINE_KAFKA_OAUTH_TOKEN_URL"):
        await kafka.connection(wrong, "test")["sasl_oauth_token_provider"].token()


async def test_the_services_work_with_the_access_lists_of_the_chart(
    broker: SecureKafka, database_url: str, topic_prefix: str, tmp_path: Path
) -> None:
    await create(
        broker,
        [NewTopic(topic.full_name(topic_prefix), 1 if topic.one_partition else PARTITIONS, 1) for topic in TOPICS],
    )
    for user, acls in ACLS.items():
        await broker.allow(user, acls, topic_prefix)
    (tmp_path / "sources.yaml").write_text(
        f"sources:\n  - {{name: till, kind: api, key_sha256: '{hashlib.sha256(b'key').hexdigest()}'}}\n"
    )
    ways = {"ingest": "OAUTHBEARER", "stage-engine": "SCRAM-SHA-512", "notifier": "mutual TLS"}
    commands = {"ingest": "serve", "stage-engine": "run", "notifier": "run"}
    with ExitStack() as running:
        services = {}
        for name, way in ways.items():
            environment = {
                "TOUCHLINE_DATABASE_URL": database_url,
                "TOUCHLINE_TOPIC_PREFIX": topic_prefix,
                "TOUCHLINE_PARTITIONS": str(PARTITIONS),
                "TOUCHLINE_LIFECYCLES": "service-cycle",
                "TOUCHLINE_SOURCES_FILE": str(tmp_path / "sources.yaml"),
                **{f"TOUCHLINE_{key.upper()}": str(value) for key, value in variables(broker, way, name).items()},
            }
            program = [command(f"touchline-{name}"), commands[name]]
            services[name] = running.enter_context(Service(name, program, environment=environment, logs=tmp_path))
        for service in services.values():
            service.wait_ready()
        async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
            touchpoint = {"type": "signed_up", "customer_id": "c-1", "occurred_at": "2026-01-02T03:04:05Z"}
            posted = await http.post(
                f"{services['ingest'].url}/v1/touchpoints", json=touchpoint, headers={"authorization": "Bearer key"}
            )
            assert posted.status_code == httpx.codes.ACCEPTED, posted.text
            address = f"{services['stage-engine'].url}/v1/customers/c-1"

            async def known() -> bool:
                return (await http.get(address)).status_code == httpx.codes.OK

            await wait_until(known, "the customer is known")
        fact = await first_record(broker, f"{topic_prefix}.stage-changes.v1")
        assert json.loads(fact)["customer_id"] == "c-1"
    logs = "".join((tmp_path / f"{name}.log").read_text() for name in ways)
    assert "AuthorizationFailed" not in logs


async def create(broker: SecureKafka, topics: list[NewTopic]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.internal)
    await admin.start()
    try:
        await admin.create_topics(topics)
    finally:
        await admin.close()


async def first_record(broker: SecureKafka, topic: str) -> bytes:
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.internal, isolation_level="read_committed")
    await consumer.start()
    try:
        places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        async with asyncio.timeout(60 * patience()):
            return bytes((await consumer.getone()).value)
    finally:
        await consumer.stop()
