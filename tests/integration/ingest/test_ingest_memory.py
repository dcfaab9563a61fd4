"""Kind: clients without a key hold connections open, each with a large body. The process stays small."""

import asyncio
import gzip
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.ports import free_port
from tests.support.waiting import patience

MIB = 1024 * 1024
SERVE = "from touchline_ingest.entrypoints.cli.main import app; app()"
# What the engine and the notifier build their processes from.
GUARDED = """
import asyncio
from fastapi import Depends
from pydantic import BaseModel
from touchline_runtime.process import run as process
from touchline_runtime.http.auth import require_token
from touchline_runtime.process.health import Health
from touchline_runtime.http.app import build_app
from touchline_runtime.metrics import Metrics
from touchline_runtime.config.settings import ServiceSettings

settings = ServiceSettings()
app = build_app("t", version="1", about="", health=Health(), metrics=Metrics([]), settings=settings)

class Wanted(BaseModel):
    name: str

@app.put("/v1/sending", dependencies=[Depends(require_token(app.state.access))])
async def turn(wanted: Wanted) -> str:
    return wanted.name

sock = process.listen(settings.http_host, settings.http_port)
asyncio.run(process.run(app, sock, [], settings=settings))
"""


class Process:
    """One process on a port of its own."""

    def __init__(self, code: str, *arguments: str, **settings: str) -> None:
        self.port = free_port()
        environment = {name: text for name, text in os.environ.items() if not name.startswith("TOUCHLINE_")}
        environment |= {f"TOUCHLINE_{name.upper()}": text for name, text in settings.items()}
        environment["TOUCHLINE_HTTP_PORT"] = str(self.port)
        self.popen = subprocess.Popen(
            [sys.executable, "-c", code, *arguments], env=environment, stdout=subprocess.DEVNULL
        )

    def await_health(self) -> None:
        until = time.monotonic() + 60 * patience()
        while time.monotonic() < until:
            try:
                if httpx.get(f"http://127.0.0.1:{self.port}/healthz", timeout=5).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.1)
        raise AssertionError("it never answered")

    @property
    def resident(self) -> int:
        """Bytes in memory."""
        pages = Path(f"/proc/{self.popen.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def end(self) -> None:
        self.popen.kill()
        self.popen.wait()


@pytest.fixture
def ingest(tmp_path: Path) -> Iterator[Process]:
    """The real process, whose Kafka does not answer yet."""
    sources = tmp_path / "sources.yaml"
    digest = hashlib.sha256(b"right").hexdigest()
    sources.write_text(
        f"sources:\n  - {{name: shop, kind: api, key_sha256: '{digest}'}}\n"
        "  - {name: mails, kind: mailgun, secret: {value: signing-key}}\n"
        "  - {name: hooks, kind: standard-webhooks, secret: {value: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw}}\n"
    )
    process = Process(
        SERVE, "serve", sources_file=str(sources), kafka_bootstrap_servers=f"127.0.0.1:{free_port()}",
        startup_timeout_seconds="300",
    )  # fmt: skip
    process.await_health()
    yield process
    process.end()


def compressed(size: int) -> bytes:
    return gzip.compress(b'{"batch":[' + b" " * size + b"]}")


def held(path: str, body: bytes, *headers: str) -> bytes:
    """A request whose last byte never comes."""
    head = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body) + 1}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


SIGNED = ("webhook-id: a", "webhook-timestamp: 1", "webhook-signature: v1,aaaa")
HOLDING = {
    "compressed bodies without a key": (400, held("/v1/track", compressed(490_000), "content-encoding: gzip")),
    "bodies without a key": (400, held("/v1/batch", b"{" + b" " * 490_000)),
    "bodies signed inside": (400, held("/v1/webhooks/mails", b"{" + b" " * 400_000)),
    "bodies with a wrong signature": (100, held("/v1/webhooks/hooks", b"{" + b" " * 4_000_000, *SIGNED)),
    "large bodies with a wrong key": (
        100, held("/v1/touchpoints", b"[" + b" " * 4_000_000, "authorization: Bearer wrong"),
    ),
    "nothing at all": (1500, b""),
    "half a head": (1500, b"POST /v1/track HTTP/1.1\r\nx-filler: " + b"x" * 8_000),
}  # fmt: skip


@pytest.mark.parametrize("what", HOLDING)
async def test_held_connections_without_a_key_take_little_memory_and_other_clients_are_served(
    ingest: Process, what: str
) -> None:
    number, sent = HOLDING[what]
    before = ingest.resident
    writers = []
    try:
        for _ in range(number):
            _, writer = await asyncio.open_connection("127.0.0.1", ingest.port)
            writer.write(sent)
            writers.append(writer)
        async with asyncio.timeout(60):
            await asyncio.gather(*(_drained(writer) for writer in writers))
        await asyncio.sleep(1)
        grown = ingest.resident - before
        assert grown < 80 * MIB, f"{grown / MIB:.0f} MiB for {number} connections"
        # Who has a key is answered as ever; here with what Kafka's absence makes of it.
        async with httpx.AsyncClient(timeout=60) as client:
            answer = await client.post(
                f"http://127.0.0.1:{ingest.port}/v1/touchpoints?validate_only=true",
                json={"type": "purchased", "customer_id": "c-1", "occurred_at": "2026-03-01T12:00:00Z"},
                headers={"authorization": "Bearer right"},
            )
        assert answer.status_code == 200
    finally:
        for writer in writers:
            writer.close()


async def _drained(writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(5):
            await writer.drain()
    except (OSError, TimeoutError):
        pass  # refused, or read no further: just what is to happen


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Bearer right"])
async def test_a_huge_body_is_not_read_by_engine_and_notifier(authorization: str | None) -> None:
    process = Process(GUARDED, api_tokens="right")
    try:
        process.await_health()
        before = process.resident

        async def huge() -> AsyncIterator[bytes]:
            for _ in range(200):
                yield b"x" * MIB

        headers = {"content-type": "application/json"} | ({"authorization": authorization} if authorization else {})
        async with httpx.AsyncClient(timeout=60) as client:
            try:
                answer = await client.put(
                    f"http://127.0.0.1:{process.port}/v1/sending", content=huge(), headers=headers
                )
                assert answer.status_code == (413 if authorization == "Bearer right" else 401)
            except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
                pass  # it was closed while we sent
        assert process.resident - before < 30 * MIB
    finally:
        process.end()


def test_metrics_are_on_their_own_port_of_the_real_process() -> None:
    operations = free_port()
    process = Process(GUARDED, api_tokens="right", metrics_port=str(operations))
    try:
        process.await_health()
        assert httpx.get(f"http://127.0.0.1:{process.port}/metrics", timeout=60).status_code in (401, 404)
        for path in ("/metrics", "/healthz", "/readyz"):
            assert httpx.get(f"http://127.0.0.1:{operations}{path}", timeout=60).status_code == 200
        assert (
            b"process_resident_memory_bytes" in httpx.get(f"http://127.0.0.1:{operations}/metrics", timeout=60).content
        )
        process.popen.terminate()
        assert process.popen.wait(90) == 0
    finally:
        process.end()
