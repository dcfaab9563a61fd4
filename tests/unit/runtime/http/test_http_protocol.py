"""Connections that never get to the point."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
import uvicorn
from fastapi import FastAPI, Response
from touchline_runtime.http import protocol as http_protocol
from touchline_runtime.process.run import listen

from tests.support.waiting import wait_until


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """A server that gives a head, or the rest of a body nobody reads, 0.3 s."""
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(http_protocol, "LEFT_OVER_SECONDS", 0.3)
    app = FastAPI()

    @app.get("/")
    async def ok() -> Response:
        return Response("ok")

    sock = listen("127.0.0.1", 0)
    config = uvicorn.Config(app, http=http_protocol.GuardedHttpProtocol, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve([sock]))
    yield sock.getsockname()[1]
    server.should_exit = True
    await serving


async def closed(reader: asyncio.StreamReader, seconds: float = 60) -> bytes:
    """What comes until the server closes. It may reset a connection on which more arrives."""
    async with asyncio.timeout(seconds):
        with contextlib.suppress(ConnectionResetError):
            return await reader.read()
        return b""


async def test_a_head_that_comes_by_the_byte_ends_the_connection(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.monotonic()
    drip = asyncio.create_task(_drip(writer))
    assert await closed(reader) == b""
    assert time.monotonic() - began > 0.2
    assert not drip.done(), "it was closed in the middle of the head"
    drip.cancel()
    writer.close()


async def _drip(writer: asyncio.StreamWriter) -> None:
    for byte in b"GET / HTTP/1.1\r\nhost: x\r\nx-never: " + b"a" * 10_000:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.01)


async def test_a_connection_that_says_nothing_is_closed(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await closed(reader) == b""
    writer.close()


async def test_a_head_without_end_is_cut_off(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nx-large: " + b"a" * 300_000)
    assert await closed(reader) == b""
    writer.close()


async def test_a_quiet_connection_between_requests_is_kept_and_its_next_request_is_timed_anew(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    for _ in range(2):
        writer.write(request)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(0.5)
    writer.write(request[:-4])
    assert await closed(reader) == b""
    writer.close()


async def test_a_blank_line_instead_of_a_request_does_not_hold_the_connection(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    await reader.readuntil(b"ok")
    writer.write(b"\r\n")
    assert await closed(reader) == b""
    writer.close()


async def test_a_body_that_drips_on_after_the_answer_ends_the_connection(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n")
    await reader.readuntil(b"ok")
    drip = asyncio.create_task(_drip(writer))
    assert await closed(reader) == b""
    drip.cancel()
    writer.close()


async def test_after_a_body_left_over_the_next_request_is_answered_or_waited_for_in_vain(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n"
    for _ in range(2):
        writer.write(request)
        await reader.readuntil(b"ok")
        writer.write(b"left")
    assert await closed(reader) == b""
    writer.close()


@pytest.fixture
async def full_after_five() -> AsyncIterator[tuple[int, list[bool]]]:
    """A server with room for five connections; `/slow` answers when the test ends. Its port, and who asked `/slow`."""
    app = FastAPI()
    end = asyncio.Event()
    busy: list[bool] = []

    @app.get("/slow")
    async def slow() -> Response:
        busy.append(True)
        await end.wait()
        return Response("done")

    @app.get("/")
    async def ok() -> Response:
        return Response("ok")

    sock = listen("127.0.0.1", 0)
    config = uvicorn.Config(app, http=http_protocol.limited_to(5), log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve([sock]))
    yield sock.getsockname()[1], busy
    end.set()
    server.should_exit = True
    await serving


HELD = {
    "silent": b"",
    "half a head": b"GET / HTTP/1.1\r\nhost: x\r\n",
    "kept alive": b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    "a body left over": b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nabc",
}


@pytest.mark.parametrize("held", HELD)
async def test_idle_connections_however_many_keep_nobody_out(
    full_after_five: tuple[int, list[bool]], held: str
) -> None:
    port, _ = full_after_five
    idle = []
    for _ in range(40):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HELD[held])
        await writer.drain()
        idle.append((reader, writer))
        await asyncio.sleep(0.005)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert (await closed(reader)).startswith(b"HTTP/1.1 200 ")
    # The oldest are gone, the youngest stay.
    await closed(idle[0][0])
    for _, each in [*idle, (reader, writer)]:
        each.close()


async def test_beyond_the_limit_of_busy_connections_the_answer_is_503(full_after_five: tuple[int, list[bool]]) -> None:
    port, entered = full_after_five
    busy = []
    for _ in range(5):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        busy.append(writer)
    await wait_until(lambda: len(entered) == 5, "five requests are under way")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    refused = await closed(reader)
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after" in refused
    for each in [*busy, writer]:
        each.close()
