"""HTTP/1.1 clients that measure: one keeps its connection, one opens a new one for each request.

``python -m tests.load.client PORT PATH SECONDS`` asks for a path from a process of its own, which no load slows down.
"""

import asyncio
import contextlib
import json
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

PATIENCE = 20.0
"""Seconds after which a request counts as not answered."""


@dataclass
class Answers:
    """What a client got.

    Attributes:
        statuses: status, or the error instead of one → how often.
        seconds: from the request (a new connection included) to its answer.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Numbers for the record."""
        took = sorted(self.seconds) or [0.0]
        return {
            "answers": dict(sorted(self.statuses.items())),
            "p50_ms": round(took[len(took) // 2] * 1000, 1),
            "p99_ms": round(took[int(len(took) * 0.99)] * 1000, 1),
            "max_ms": round(took[-1] * 1000, 1),
        }


@dataclass
class Connection:
    """One connection, opened when it is needed."""

    port: int
    kept: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send one request: status, headers, body.

        Raises:
            OSError, EOFError: no connection, or it ended before the answer.
        """
        if self.kept is None:
            self.kept = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.kept
        try:
            writer.write(request)
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            headers = {name.lower(): value for name, value in re.findall(r"([\w-]+): (.*)\r\n", head)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        except BaseException:
            self.close()
            raise
        if headers.get("connection") == "close":
            self.close()
        return int(head.split(" ", 2)[1]), headers, body

    def close(self) -> None:
        """End it; the next request opens another."""
        if self.kept is not None:
            self.kept[1].close()
            self.kept = None


def get(path: str) -> bytes:
    """A GET request."""
    return f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode()


def post(path: str, body: bytes, *, key: str) -> bytes:
    """A POST request of JSON."""
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\n"
    return f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


async def ask_repeatedly(port: int, request: bytes, stop: asyncio.Event, *, keep: bool, pause: float = 0.1) -> Answers:
    """Ask until stopped, one request after the other."""
    answers, connection = Answers(), Connection(port)
    while not stop.is_set():
        began = time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE):
                status, _, _ = await connection.ask(request)
            answers.statuses[str(status)] += 1
        except (OSError, EOFError) as error:
            answers.statuses[type(error).__name__] += 1
        answers.seconds.append(time.perf_counter() - began)
        if not keep:
            connection.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause)
    connection.close()
    return answers


async def _main(port: int, path: str, seconds: float) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stop.set)
    print(json.dumps((await ask_repeatedly(port, get(path), stop, keep=False)).as_json()))


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3])))
