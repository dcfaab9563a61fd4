"""The embedded stack itself."""

from __future__ import annotations

import pytest
from touchline_devstack.probes import kafka_trouble, postgres_trouble, query
from touchline_devstack.stack import Stack

pytestmark = pytest.mark.stack


def test_a_test_gets_a_broker_and_an_empty_database_of_its_own(stack: Stack, database_url: str) -> None:
    assert kafka_trouble(stack.kafka_bootstrap) is None
    assert postgres_trouble(database_url) is None
    assert query(database_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    assert query(database_url, "SHOW server_version_num").startswith("18")


async def test_the_stack_can_be_asked_from_a_coroutine(stack: Stack) -> None:
    assert stack.up() is False
