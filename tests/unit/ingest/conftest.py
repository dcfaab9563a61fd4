"""The ingest service in one process, with a log in memory in place of Kafka."""

import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from touchline_ingest import metrics as declared
from touchline_ingest.adapters.files.sources_watch import SourcesWatch
from touchline_ingest.adapters.memory.publisher import MemoryPublisher
from touchline_ingest.bootstrap import application
from touchline_ingest.settings import IngestSettings
from touchline_runtime.metrics import Metrics

SOURCES = """
sources:
  - {{name: shop, kind: api, key_sha256: {shop}}}
  - {{name: staff, kind: api, key_sha256: {staff}, may_set_stage: true}}
  - {{name: page, kind: web, key_sha256: {page}, origins: ["https://shop.example"]}}
  - {{name: tracker, kind: segment, key_sha256: {tracker}}}
  - {{name: few, kind: api, key_sha256: {few}, types: [purchased], max_bytes: 2000}}
  - {{name: slow, kind: api, key_sha256: {slow}, rate_limit: {{per_second: 0.01, burst: 5}}}}
  - {{name: hooks, kind: standard-webhooks, secret: {{value: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw}}}}
"""
NAMES = ("shop", "staff", "page", "tracker", "few", "slow")


def key_of(name: str) -> str:
    return f"key-of-{name}"


@dataclass
class Ingest:
    client: httpx.AsyncClient
    publisher: MemoryPublisher
    watch: SourcesWatch
    sources_file: Path
    metrics: Metrics
    app: Any = None
    keys: dict[str, str] = field(default_factory=dict)

    async def post(
        self, content: Any, *, key: str | None = "shop", path: str = "/v1/touchpoints", **headers: str
    ) -> httpx.Response:
        body = content if isinstance(content, bytes) else orjson.dumps(content)
        sent = {"content-type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
        if key:
            sent["authorization"] = f"Bearer {key_of(key)}"
        return await self.client.post(path, content=body, headers=sent)

    def touchpoints(self) -> list[dict[str, Any]]:
        return [orjson.loads(record.value) for record in self.publisher.published["touchpoints"]]


@pytest.fixture
def touchpoint() -> Callable[..., dict[str, Any]]:
    def make(**fields: Any) -> dict[str, Any]:
        base = {"type": "page_viewed", "customer_id": "c-1", "occurred_at": "2026-03-01T12:00:00Z"}
        return {name: value for name, value in (base | fields).items() if value is not ...}

    return make


@pytest.fixture
async def ingest(tmp_path: Path) -> AsyncIterator[Ingest]:
    file = tmp_path / "sources.yaml"
    hashes = {name: f'"{hashlib.sha256(key_of(name).encode()).hexdigest()}"' for name in NAMES}
    file.write_text(SOURCES.format(**hashes))
    settings = IngestSettings(sources_file=file, max_body_bytes=1_000_000, body_timeout_seconds=0.3)
    publisher = MemoryPublisher(ack_timeout=0.05)
    metrics = Metrics(declared.ALL)
    app, watch = application(settings, publisher, metrics)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
        yield Ingest(client, publisher, watch, file, metrics, app)
