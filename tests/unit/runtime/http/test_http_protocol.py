"""Connections that never get to the point."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from touchline_runtime.http import protocol as http_protocol
from touchline_runtime.process import connection_limit
from touchline_runtime.process.run import listen

from tests.support.waiting import wait_until

LARGE = 30_000_000
"""Bytes: more than operating systems take without a reader."""


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

    @app.get("/healthz")
    @app.get("/readyz")
    async def health() -> Response:
        return Response("healthy")

    @app.post("/read")
    async def read(request: Request) -> Response:
        busy.append(True)
        return Response(str(len(await request.body())))

    @app.post("/large")
    async def large() -> Response:
        busy.append(True)
        return Response(b"x" * LARGE)

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
    "a body that nobody reads": b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nabc",
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
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    refused = await closed(reader)
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after" in refused
    for each in [*busy, writer]:
        each.close()


async def test_when_all_are_busy_health_is_answered_and_everything_else_is_503_and_then_there_is_room_again(
    full_after_five: tuple[int, list[bool]],
) -> None:
    port, entered = full_after_five
    busy = []
    for _ in range(5):
        busy.append(await asyncio.open_connection("127.0.0.1", port))
        busy[-1][1].write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
    await wait_until(lambda: len(entered) == 5, "five requests are under way")
    for path in ("/healthz", "/readyz", "/healthz?x=1"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        assert b"healthy" in await closed(reader), "answered, and closed: there is no room for more requests"
        writer.close()
    for path in ("/", "/healthz2", "/slow"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        assert (await closed(reader)).startswith(b"HTTP/1.1 503 ")
        writer.close()
    for _, each in busy:
        each.close()

    async def answered() -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        found = await closed(reader)
        writer.close()
        return found.startswith(b"HTTP/1.1 200 ")

    await wait_until(answered, "there is room again")


async def test_more_connections_than_are_kept_for_health_are_refused_at_once(
    full_after_five: tuple[int, list[bool]],
) -> None:
    port, entered = full_after_five
    held = []
    for _ in range(5):
        held.append(await asyncio.open_connection("127.0.0.1", port))
        held[-1][1].write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
    await wait_until(lambda: len(entered) == 5, "five requests are under way")
    for _ in range(http_protocol.MORE_FOR_HEALTH):
        held.append(await asyncio.open_connection("127.0.0.1", port))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert (await closed(reader)).startswith(b"HTTP/1.1 503 ")
    for _, each in [*held, (reader, writer)]:
        each.close()


async def test_a_connection_that_was_served_outlives_those_that_ask_nothing(
    full_after_five: tuple[int, list[bool]],
) -> None:
    port, _ = full_after_five
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    writer.write(request)
    await reader.readuntil(b"ok")
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(40)]
    for first, _ in silent[:36]:
        await closed(first)
    writer.write(request)
    assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
    for _, each in [*silent, (reader, writer)]:
        each.close()


async def test_slow_bodies_and_unread_answers_give_way_to_new_connections(
    full_after_five: tuple[int, list[bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limit, "SLOW_SECONDS", 0.0)
    port, entered = full_after_five
    held = []
    for number in range(5):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        path = "/read" if number % 2 else "/large"
        writer.write(f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {1 + number % 2}\r\n\r\nx".encode())
        held.append(writer)
    await wait_until(lambda: len(entered) == 5, "five requests are under way")
    for _ in range(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert (await closed(reader)).startswith(b"HTTP/1.1 200 ")
        writer.close()
    for each in held:
        each.close()


async def test_a_client_that_reads_no_answer_is_cut_off(
    full_after_five: tuple[int, list[bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "UNREAD_SECONDS", 0.2)
    port, entered = full_after_five
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(b"POST /large HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
    await wait_until(lambda: entered, "it is answered")
    sock.setblocking(False)
    probe = b"GET / HTTP/1.1\r\n"

    def is_cut_off() -> bool:
        # What arrives is not read; a connection that was aborted refuses what is sent.
        try:
            sock.send(probe)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return False

    await wait_until(is_cut_off, "the connection is aborted")
    sock.close()


async def test_a_client_that_reads_slowly_gets_everything(
    full_after_five: tuple[int, list[bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "UNREAD_SECONDS", 5.0)
    port, _ = full_after_five
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 16)
    writer.write(b"POST /large HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    got = 0
    while piece := await reader.read(1 << 20):
        got += len(piece)
        await asyncio.sleep(0.001)
    assert got > LARGE
    writer.close()


async def test_requests_sent_ahead_without_end_are_answered_up_to_a_limit_and_hold_no_memory(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n" * 10_000)
    answers = (await closed(reader)).count(b"HTTP/1.1 200")
    assert 1 <= answers <= http_protocol.MOST_QUEUED_REQUESTS + 1
    writer.close()


async def test_some_requests_sent_ahead_are_answered_in_order_on_one_connection(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(3):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 10)
        for _ in range(10):
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_an_upgrade_to_websocket_is_a_request_like_any_other(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
    writer.close()
