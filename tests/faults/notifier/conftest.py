"""The notifier's world, with processes that are killed."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "integration" / "notifier"))

from notifier_world import World


@pytest.fixture
async def world(kafka_bootstrap: str, database_url: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[World]:
    """A company with a notifier: nothing runs yet."""
    async with World.open(kafka_bootstrap, database_url, topic_prefix, tmp_path) as opened:
        yield opened
