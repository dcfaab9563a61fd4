"""The doors on a real socket, as a process serves them, with a log in memory behind them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from touchline_ingest import metrics as declared
from touchline_ingest.adapters.http.fetcher import HttpsFetcher
from touchline_ingest.adapters.memory.publisher import MemoryPublisher
from touchline_ingest.bootstrap import application
from touchline_ingest.settings import IngestSettings
from touchline_runtime.http.protocol import GuardedHttpProtocol
from touchline_runtime.metrics import Metrics
from touchline_runtime.process.run import listen


@dataclass
class LiveIngest:
    """An address, and what came in by it."""

    port: int
    publisher: MemoryPublisher

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def touchpoints(self) -> list[dict[str, Any]]:
        return [orjson.loads(record.value) for record in self.publisher.published["touchpoints"]]


@asynccontextmanager
async def live_ingest(
    sources: Path, *, fetcher: HttpsFetcher | None = None, **settings: Any
) -> AsyncIterator[LiveIngest]:
    """Serve until the block ends."""
    publisher = MemoryPublisher(ack_timeout=0.2)
    configured = IngestSettings(sources_file=sources, **settings)
    app, _ = application(configured, publisher, Metrics(declared.ALL), fetcher)
    sock = listen("127.0.0.1", 0)
    config = uvicorn.Config(app, http=GuardedHttpProtocol, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve([sock]))
    try:
        yield LiveIngest(sock.getsockname()[1], publisher)
    finally:
        server.should_exit = True
        await serving
