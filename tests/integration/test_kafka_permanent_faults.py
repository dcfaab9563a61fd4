"""Kind: a right that Kafka refuses. It is reported once with the remedy, and retried slowly until granted."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
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
    "the notifier may not read facts": ("notifier", "topic", "stage-changes.v1", "session_blocked"),
}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    with secure_kafka(tmp_path_factory.mktemp("secure-kafka")) as broker:
        yield broker


def is_withheld(acl: dict[str, Any], kind: str, name: str) -> bool:
    return acl["type"] == kind and name in acl["name"] and {"Read", "Write"} & set(acl["operations"]) != set()


@pytest.mark.parametrize("case", WITHHELD)
async def test_a_refused_right_is_reported_once_and_retried_slowly_until_it_is_granted(
    stack: Stack, broker: SecureKafka, database_url: str, topic_prefix: str, tmp_path: Path, case: str
) -> None:
    name, kind, resource, event = WITHHELD[case]
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.internal)
    await admin.start()
    try:
        await admin.create_topics(
            [NewTopic(topic.full_name(topic_prefix), 1 if topic.one_partition else PARTITIONS, 1) for topic in TOPICS]
        )
    finally:
        await admin.close()
    withheld = [acl for acl in ACLS[name] if is_withheld(acl, kind, resource)]
    assert withheld
    granted = [
        acl
        if acl not in withheld
        else acl | {"operations": [one for one in acl["operations"] if one[:8] == "Describe"]}
        for acl in ACLS[name]
    ]
    await broker.allow(name, [acl for acl in granted if acl["operations"]], topic_prefix)
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
    service = Service(name, [command(f"touchline-{name}"), "run"], environment=environment, logs=tmp_path)
    log = tmp_path / f"{name}.log"

    def reports() -> Counter[str]:
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        return Counter(line["event"] for line in lines)

    async def readiness() -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            return await client.get(f"{service.url}/readyz")

    service.start()
    try:
        await wait_until(lambda: reports()[event], f"{event} is logged", 90, seen=log.read_text)

        async def says_why() -> bool:
            response = await readiness()
            return response.status_code == 503 and "uthorization" in response.text

        await wait_until(says_why, "/readyz gives the reason", 30)
        before, used = reports()[event], psutil.Process(service.pid).cpu_times().user
        await asyncio.sleep(12)
        assert service.is_running
        assert sum(count for what, count in reports().items() if "OffsetCommit" in what) <= 2, "nor anything else often"
        assert before <= reports()[event] <= PARTITIONS, "it is reported once"
        assert psutil.Process(service.pid).cpu_times().user - used < 6, "it does not spin"
        await broker.allow(name, withheld, topic_prefix)

        async def ready() -> bool:
            return (await readiness()).status_code == 200

        await wait_until(ready, "it goes on by itself", 90, seen=log.read_text)
        assert "Traceback" not in log.read_text()
    finally:
        if service.is_running:
            service.kill()
