"""10,000 connections that ask nothing, or never finish asking, beside clients that do.

For each service and each kind of connection: how the clients fare meanwhile, the memory before and after, and how long
it takes until the last of the connections is ended.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
from touchline_devstack.processes import Service

from tests.load.client import ask_repeatedly, get, post
from tests.load.services import KEY, open_files, resident_mib, running, services

COUNT = 10_000
HELD_SECONDS = 20.0
_OPENING_AT_ONCE = 256


@dataclass(frozen=True)
class Kind:
    """What each connection sends, and what it sends then once a second.

    Attributes:
        reads: it reads its answers.
        ends: the service ends it within a minute.
    """

    name: str
    first: bytes
    then: bytes = b""
    reads: bool = True
    ends: bool = True


_HEAD = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n"
KINDS = (
    Kind("silent", b""),
    Kind("head by the byte", _HEAD, then=b"x"),
    Kind("kept alive", _HEAD + b"\r\n", ends=False),
    Kind("GET with a body by the byte", _HEAD + b"content-length: 100000\r\n\r\nx", then=b"x"),
    Kind("POST with a body by the byte", b"POST /v1/touchpoints HTTP/1.1\r\nhost: 127.0.0.1\r\n"
         b"content-type: application/json\r\ncontent-length: 100000\r\n\r\n[", then=b" "),
    Kind("answers that are not read", (b"GET /openapi.json HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n") * 15, reads=False),
)  # fmt: skip

_TOUCHPOINT = {"type": "page_viewed", "customer_id": "c1", "occurred_at": "2026-03-01T12:00:00Z"}
ASKED = {
    "ingest": post("/v1/touchpoints", orjson.dumps(_TOUCHPOINT), key=KEY),
    "engine": get("/v1/lifecycles"),
    "notifier": get("/v1/plays"),
}


class _Held(asyncio.Protocol):
    """A connection of the crowd."""

    def __init__(self, crowd: "Crowd") -> None:
        self._crowd = crowd

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._crowd.held.add(transport)
        self.transport = transport
        if not self._crowd.kind.reads:
            transport.pause_reading()
        transport.write(self._crowd.kind.first)

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.held.discard(self.transport)


class Crowd:
    """The connections of one kind to one port."""

    def __init__(self, port: int, kind: Kind) -> None:
        self.kind = kind
        self.held: set[asyncio.Transport] = set()
        self.failed = 0
        self._port = port

    async def open(self, count: int) -> None:
        """Open that many."""
        loop, gate = asyncio.get_running_loop(), asyncio.Semaphore(_OPENING_AT_ONCE)

        async def one() -> None:
            async with gate:
                try:
                    async with asyncio.timeout(30):
                        await loop.create_connection(lambda: _Held(self), "127.0.0.1", self._port)
                except OSError:
                    self.failed += 1

        await asyncio.gather(*(one() for _ in range(count)))

    async def drip(self, stop: asyncio.Event) -> None:
        """Send on, once a second, until stopped."""
        while not stop.is_set():
            if self.kind.then:
                for transport in list(self.held):
                    transport.write(self.kind.then)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1)

    def end(self) -> None:
        """Close what is left."""
        for transport in list(self.held):
            transport.abort()


async def hold(service: Service, role: str, kind: Kind, count: int, *, limit: float = 75.0) -> dict[str, Any]:
    """Hold connections, with clients beside them, until the service has ended them all or time is up."""
    stop = asyncio.Event()
    asked: dict[str, Callable[[], Any]] = {
        "kept connection": lambda: ask_repeatedly(service.port, ASKED[role], stop, keep=True),
        "new connections": lambda: ask_repeatedly(service.port, ASKED[role], stop, keep=False),
        "/healthz": lambda: ask_repeatedly(service.port, get("/healthz"), stop, keep=False, pause=0.2),
        "/readyz": lambda: ask_repeatedly(service.port, get("/readyz"), stop, keep=False, pause=0.5),
    }
    before = resident_mib(service)
    asking = {name: asyncio.create_task(ask()) for name, ask in asked.items()}
    await asyncio.sleep(1)
    crowd = Crowd(service.port, kind)
    dripping = asyncio.create_task(crowd.drip(stop))
    began = time.monotonic()
    await crowd.open(count)
    opened = time.monotonic() - began
    most, files = 0.0, 0
    ended: float | None = None
    while time.monotonic() - began < (limit if kind.ends else HELD_SECONDS) and ended is None:
        await asyncio.sleep(0.5)
        most, files = max(most, resident_mib(service)), max(files, open_files(service))
        # A connection whose reader is paused does not see its end: the service's files tell.
        left = open_files(service) - 150 if not kind.reads else len(crowd.held)
        if left <= 0 and time.monotonic() - began > HELD_SECONDS:
            ended = time.monotonic() - began
    stop.set()
    await dripping
    answers = {name: (await task).as_json() for name, task in asking.items()}
    left_over = len(crowd.held)
    crowd.end()
    await asyncio.sleep(1)
    return {
        "service": role,
        "connections": kind.name,
        "opened": count - crowd.failed,
        "opened_in_seconds": round(opened, 1),
        "ended_after_seconds": None if ended is None else round(ended, 1),
        "held_at_the_end": left_over,
        "resident_mib": {"before": before, "most": most, "after": resident_mib(service)},
        "most_open_files": files,
        "clients": answers,
    }


def run(*, quick: bool, roles: tuple[str, ...], kinds: tuple[str, ...]) -> list[dict[str, Any]]:
    """Every service with every kind of connection, at the default limit; then 10,000 within a larger limit."""
    count = COUNT // 10 if quick else COUNT
    found = []
    with running("ingest", "engine", "notifier") as started:
        for role in roles:
            for kind in KINDS:
                if kind.name in kinds:
                    row = asyncio.run(hold(started.services[role], role, kind, count))
                    print(orjson.dumps(row).decode(), flush=True)
                    found.append(row)
    with running(*roles, max_connections="12000") as started:
        for role in roles:
            row = asyncio.run(hold(started.services[role], role, KINDS[0], count))
            row["connections"] = "silent, within a limit of 12,000"
            print(orjson.dumps(row).decode(), flush=True)
            found.append(row)
    return found


__all__ = ["run", "services"]
