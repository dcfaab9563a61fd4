"""HTTP load: as much as it takes (wrk where there is one), or at a fixed rate to see the latency."""

import asyncio
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

WRK = shutil.which("wrk")


@dataclass(frozen=True)
class Load:
    """What is posted: whole bodies, used in turn."""

    url: str
    bodies: list[bytes]
    headers: dict[str, str]

    def request(self, number: int) -> bytes:
        """One HTTP/1.1 request."""
        parts = urlsplit(self.url)
        body = self.bodies[number % len(self.bodies)]
        lines = [f"POST {parts.path} HTTP/1.1", f"host: {parts.netloc}", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def most(load: Load, *, connections: int, seconds: float) -> float:
    """Requests a second, as many as it takes. Raises AssertionError when any was answered other than 2xx."""
    if WRK is None:
        return asyncio.run(_most(load, connections, seconds))
    with tempfile.TemporaryDirectory() as folder:
        quoted = ",\n".join("[==[" + body.decode() + "]==]" for body in load.bodies)
        headers = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in load.headers.items())
        script = Path(folder) / "load.lua"
        script.write_text(
            f'wrk.method = "POST"\n{headers}\nlocal bodies = {{{quoted}}}\nlocal n = 0\n'
            "request = function()\n  n = n % #bodies + 1\n  return wrk.format(nil, nil, nil, bodies[n])\nend\n"
        )
        command = [WRK, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script), load.url]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in out, out
    assert "Socket errors" not in out, out
    found = re.search(r"Requests/sec:\s+([\d.]+)", out)
    assert found, out
    return float(found[1])


def latency(load: Load, *, per_second: float, seconds: float, connections: int = 32) -> list[float]:
    """Seconds from when each request was due to its answer, sorted, at a fixed rate (waiting in line counts)."""
    return asyncio.run(_latency(load, per_second, seconds, connections))


async def _most(load: Load, connections: int, seconds: float) -> float:
    deadline, answered = time.perf_counter() + seconds, 0

    async def hand(start: int) -> None:
        nonlocal answered
        async with _Connection(load) as connection:
            number = start
            while time.perf_counter() < deadline:
                await connection.post(number)
                number += 1
                answered += 1

    began = time.perf_counter()
    await asyncio.gather(*(hand(number * 7) for number in range(connections)))
    return answered / (time.perf_counter() - began)


async def _latency(load: Load, per_second: float, seconds: float, connections: int) -> list[float]:
    due: asyncio.Queue[float | None] = asyncio.Queue()
    took: list[float] = []

    async def hand(number: int) -> None:
        async with _Connection(load) as connection:
            while (moment := await due.get()) is not None:
                await connection.post(number)
                took.append(time.perf_counter() - moment)
                number += 1

    hands = [asyncio.create_task(hand(number)) for number in range(connections)]
    began = time.perf_counter()
    for number in range(int(per_second * seconds)):
        moment = began + number / per_second
        if (early := moment - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        due.put_nowait(moment)
    for _ in hands:
        due.put_nowait(None)
    await asyncio.gather(*hands)
    return sorted(took)


class _Connection:
    """One kept-alive connection."""

    def __init__(self, load: Load) -> None:
        self._load = load

    async def __aenter__(self) -> "_Connection":
        parts = urlsplit(self._load.url)
        self._reader, self._writer = await asyncio.open_connection(parts.hostname, parts.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def post(self, number: int) -> None:
        self._writer.write(self._load.request(number))
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 2"), head
        length = re.search(rb"content-length: (\d+)", head)
        assert length, head
        await self._reader.readexactly(int(length[1]))
