"""Kind: a right that Kafka refuses. It is reported once with the remedy, and retried slowly until granted."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from touchline_devstack.processes import Service, command
from touchline_devstack.stack import Stack
from touchline_schemas.topics import TOPICS

from tests.support.secure_kafka import USERS, SecureKafka, secure_kafka
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack
ROOT = Path(__file__).parents[2]
ACLS: dict[str, list[dict[str, Any]]] = json.loads((ROOT / "deploy/helm/touchline/files/acls.json").read_text())
PARTITIONS = 2
# Service, the right that is withheld (kind and name), and the event that reports it.
WITHHELD = {
    "the engine may not publish in transactions": ("stage-engine", "transactionalId", "relay", "partition_blocked"),
    "the engine may not read touchpoints": ("stage-engine", "topic", "touchpoints.v1", "partition_blocked"),
    "the engine may not use its consumer group": ("stage-engine", "group", "stage-engine", "session_blocked"),
    "the notifier may not use its consumer group": ("notifier", "group", "notifier", "session_blocked"),
    "the notifier may not read facts": ("notifier", "topic", "stage-changes.v1", "session_blocked"),
}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    with secure_kafka(tmp_path_factory.mktemp("secure-kafka")) as broker:
        yield broker


def is_withheld(acl: dict[str, Any], kind: str, name: str) -> bool:
    return acl["type"] == kind and name in acl["name"] and {"Read", "Write"} & set(acl["operations"]) != set()


def withheld_rules(name: str, kind: str, resource: str) -> list[dict[str, Any]]:
    return [acl for acl in ACLS[name] if is_withheld(acl, kind, resource)]


async def create_topics(broker: SecureKafka, topic_prefix: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.internal)
    await admin.start()
    try:
        await admin.create_topics(
            [NewTopic(topic.full_name(topic_prefix), 1 if topic.one_partition else PARTITIONS, 1) for topic in TOPICS]
        )
    finally:
        await admin.close()


@dataclass
class Running:
    """A service that reaches the broker as its own user."""

    service: Service
    log: Path

    def reports(self) -> Counter[str]:
        """Event → how often it is in the log."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return Counter(line["event"] for line in lines)

    async def readiness(self) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            return await client.get(f"{self.service.url}/readyz")

    async def says_why(self) -> bool:
        response = await self.readiness()
        return response.status_code == 503 and "docs/operating.md" in response.text

    async def ready(self) -> bool:
        try:
            return (await self.readiness()).status_code == 200
        except httpx.TransportError:
            return False  # it does not listen yet


@contextmanager
def running(name: str, broker: SecureKafka, database_url: str, topic_prefix: str, folder: Path) -> Iterator[Running]:
    environment = {
        "TOUCHLINE_DATABASE_URL": database_url,
        "TOUCHLINE_TOPIC_PREFIX": topic_prefix,
        "TOUCHLINE_PARTITIONS": str(PARTITIONS),
        "TOUCHLINE_LIFECYCLES": "service-cycle",
        "TOUCHLINE_LOG_FORMAT": "json",
        "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS": broker.sasl,
        "TOUCHLINE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "TOUCHLINE_KAFKA_CA_FILE": str(broker.ca),
        "TOUCHLINE_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "TOUCHLINE_KAFKA_SASL_USERNAME": name,
        "TOUCHLINE_KAFKA_SASL_PASSWORD": USERS[name],
    }
    service = Service(name, [command(f"touchline-{name}"), "run"], environment=environment, logs=folder)
    service.start()
    try:
        yield Running(service, folder / f"{name}.log")
    finally:
        if service.is_running:
            service.kill()


@pytest.mark.parametrize("service", ["stage-engine", "notifier"])
async def test_a_refused_right_is_reported_once_and_retried_slowly_until_it_is_granted(
    stack: Stack, broker: SecureKafka, database_url: str, topic_prefix: str, tmp_path: Path, service: str
) -> None:
    cases = [case for case in WITHHELD if WITHHELD[case][0] == service]
    async with asyncio.TaskGroup() as group:
        for number, case in enumerate(cases):
            folder = tmp_path / str(number)
            group.create_task(refused(case, broker, database_url, f"{topic_prefix}{number}", folder))


async def refused(case: str, broker: SecureKafka, database_url: str, topic_prefix: str, folder: Path) -> None:
    name, kind, resource, event = WITHHELD[case]
    await create_topics(broker, topic_prefix)
    withheld = withheld_rules(name, kind, resource)
    assert withheld
    granted = [
        acl
        if acl not in withheld
        else acl | {"operations": [one for one in acl["operations"] if one[:8] == "Describe"]}
        for acl in ACLS[name]
    ]
    await broker.allow(name, [acl for acl in granted if acl["operations"]], topic_prefix)
    with running(name, broker, database_url, topic_prefix, folder) as process:
        log, service = process.log, process.service
        await wait_until(lambda: process.reports()[event], f"{case}: {event} is logged", 90, seen=log.read_text)
        await wait_until(process.says_why, f"{case}: /readyz gives the reason", seen=log.read_text)
        before, used = process.reports()[event], psutil.Process(service.pid).cpu_times().user
        await asyncio.sleep(12)
        assert service.is_running
        often = [what for what in process.reports() if "OffsetCommit" in what]
        assert sum(process.reports()[what] for what in often) <= 2, "nor anything else often"
        assert before <= process.reports()[event] <= PARTITIONS, "it is reported once"
        assert psutil.Process(service.pid).cpu_times().user - used < 6, "it does not spin"
        await broker.allow(name, withheld, topic_prefix)
        await wait_until(process.ready, f"{case}: it goes on by itself", 90, seen=log.read_text)
        assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("service", ["stage-engine", "notifier"])
async def test_a_service_that_worked_is_not_ready_from_the_moment_a_right_is_withdrawn(
    stack: Stack, broker: SecureKafka, database_url: str, topic_prefix: str, tmp_path: Path, service: str
) -> None:
    cases = [
        (case, seconds)
        for case in WITHHELD
        if WITHHELD[case][0] == service and WITHHELD[case][1] != "transactionalId"
        for seconds in (0, 3)
    ]
    async with asyncio.TaskGroup() as group:
        for number, (case, seconds) in enumerate(cases):
            folder = tmp_path / str(number)
            group.create_task(withdrawn(case, seconds, broker, database_url, f"{topic_prefix}{number}", folder))


async def withdrawn(
    case: str, seconds: float, broker: SecureKafka, database_url: str, topic_prefix: str, folder: Path
) -> None:
    """The right is withdrawn some seconds after the service was ready first."""
    name, kind, resource, event = WITHHELD[case]
    await create_topics(broker, topic_prefix)
    await broker.allow(name, ACLS[name], topic_prefix)
    with running(name, broker, database_url, topic_prefix, folder) as process:
        log = process.log
        await wait_until(process.ready, f"{case}: it works", 90, seen=log.read_text)
        await asyncio.sleep(seconds)
        await broker.withdraw(name, withheld_rules(name, kind, resource), topic_prefix)

        def blocked() -> int:
            return process.reports()[event] + process.reports()["session_blocked"]

        await wait_until(blocked, f"{case}: it is logged", 90, seen=log.read_text)
        # A fault that is retried after 30 s: /readyz must not wait for the next try.
        await wait_until(process.says_why, f"{case}: /readyz gives the reason", 25, seen=log.read_text, exact=True)
        await broker.allow(name, withheld_rules(name, kind, resource), topic_prefix)
        await wait_until(process.ready, f"{case}: it goes on by itself", 90, seen=log.read_text)
