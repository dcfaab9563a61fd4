"""What the engine's tests share: an engine of their own on the real stack, and the records it reads and writes."""

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
