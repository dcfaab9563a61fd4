"""The engine's fault tests use the same harness as its integration tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from touchline_devstack.stack import Stack

from tests.support.engine.world import World


@pytest.fixture
async def world(stack: Stack, database_url: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[World]:
    """Topics, tables and lifecycles of a test's own; its engines are ended with it."""
    async with World.open(stack.kafka_bootstrap, database_url, topic_prefix, tmp_path) as world:
        yield world
