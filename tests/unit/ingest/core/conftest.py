"""What the tests of sources share: requests, configurations, and the check that a draft is a sound touchpoint."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from touchline_ingest.core.sources.interface import ReadResult, Request, SourceConfig, Understood
from touchline_schemas.touchpoint import PostedTouchpoint, Touchpoint

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def post() -> Callable[..., Request]:
    """Makes a POST request; a body that isn't bytes is written as JSON."""

    def make(body: Any, url: str = "https://in.example.org/v1/webhooks/vendor", **headers: str) -> Request:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        lowered = {name.lower().replace("_", "-"): value for name, value in headers.items()}
        return Request("POST", url, lowered, raw)

    return make


@pytest.fixture
def configured() -> Callable[..., SourceConfig]:
    """Makes a source's configuration."""

    def make(kind: str, *secrets: str, **options: Any) -> SourceConfig:
        return SourceConfig("vendor", kind, secrets, options)

    return make


@pytest.fixture
def accepted() -> Callable[[ReadResult], list[Touchpoint]]:
    """The touchpoints of a reading, after the validation that every draft goes through; fails if one is unsound."""

    def make(reading: ReadResult) -> list[Touchpoint]:
        assert isinstance(reading, Understood), reading
        assert not reading.unreadable, reading.unreadable
        return [
            PostedTouchpoint.model_validate(draft).accepted(
                id=draft.get("id") or "minted", source="vendor", received_at=NOW
            )
            for draft in reading.touchpoints
        ]

    return make
