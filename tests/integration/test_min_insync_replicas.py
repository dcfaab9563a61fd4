"""Kind: topics whose acknowledged records may be lost with one broker, or can never be acknowledged."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from touchline_runtime.config.settings import ServiceSettings, read_settings
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.kafka.clients import Admin, WantedTopic

from tests.support.two_brokers import two_brokers
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with two_brokers(tmp_path_factory.mktemp("two-brokers")) as brokers:
        yield brokers


async def checked(brokers: str, prefix: str, replicas: int, least: int | None) -> list[dict[str, Any]]:
    """What is logged when a topic is checked that somebody made with so many replicas, of which so many in sync."""
    name = f"{prefix}.touchpoints.v1"
    settings = read_settings(ServiceSettings, kafka_bootstrap_servers=brokers, topic_prefix=prefix)
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    await admin.start()
    try:

        async def both_known() -> bool:
            return len((await admin.describe_cluster())["brokers"]) == 2

        await wait_until(both_known, "both brokers are registered", 60)
        config = {} if least is None else {"min.insync.replicas": str(least)}
        await admin.create_topics([NewTopic(name, 2, replicas, topic_configs=config)])

        async def known() -> bool:
            # Whichever broker is asked: ten answers in turn are from both.
            answers = [(await admin.describe_topics([name]))[0]["error_code"] for _ in range(10)]
            return not any(answers)

        await wait_until(known, "both brokers know the topic")
    finally:
        await admin.close()
    with structlog.testing.capture_logs() as logged:
        async with Admin(settings, "test") as ours:
            await ours.ensure_topics([WantedTopic(name, 2, {})])
    return [dict(line) for line in logged]


@pytest.mark.parametrize(("replicas", "least"), [(1, None), (1, 2), (2, 3)])
async def test_a_topic_that_wants_more_replicas_in_sync_than_it_has_is_an_error(
    brokers: str, topic_prefix: str, replicas: int, least: int | None
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await checked(brokers, topic_prefix, replicas, least)
    assert f"{topic_prefix}.touchpoints.v1 has {replicas} replica(s)" in str(caught.value)
    assert f"min.insync.replicas={least or 2}" in str(caught.value)


async def test_a_replicated_topic_whose_records_one_broker_may_acknowledge_is_warned_about(
    brokers: str, topic_prefix: str
) -> None:
    logged = await checked(brokers, topic_prefix, 2, 1)
    (warning,) = [line for line in logged if line["log_level"] == "warning"]
    assert warning["event"] == "min_insync_replicas_low"
    assert warning["topics"] == [f"{topic_prefix}.touchpoints.v1"]


@pytest.mark.parametrize(("replicas", "least"), [(1, 1), (2, None), (2, 2)])
async def test_a_topic_that_is_durable_or_has_one_replica_by_choice_is_not_warned_about(
    brokers: str, topic_prefix: str, replicas: int, least: int | None
) -> None:
    logged = await checked(brokers, topic_prefix, replicas, least)
    assert not [line for line in logged if line["log_level"] in ("warning", "error")]
