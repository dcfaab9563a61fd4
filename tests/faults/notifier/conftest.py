"""The notifier's world, with processes that are killed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.notifier.world import World


@pytest.fixture
async def world(kafka_bootstrap: str, database_url: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[World]:
    """A company with a notifier: nothing runs yet."""
    async with World.open(kafka_bootstrap, database_url, topic_prefix, tmp_path) as opened:
        yield opened
