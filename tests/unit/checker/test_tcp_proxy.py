"""The proxy of the campaigns does to connections what its name for it says."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal

import pytest

from tests.support.tcp_proxy import Breakpoint, TcpProxy, kafka_request, statement


@asynccontextmanager
async def echo() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that sends back what it gets, and what it got."""
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                seen.append(data)
                writer.write(data)
        writer.transport.abort()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], seen


@asynccontextmanager
async def client(proxy: TcpProxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection through the proxy."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    yield reader, writer
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes, seconds: float = 60
) -> bytes | None:
    """The answer; None: nothing comes within so many seconds; empty: the connection ended."""
    try:
        writer.write(data)
        async with asyncio.timeout(seconds):
            return await reader.read(65_536)
    except TimeoutError:
        return None
    except ConnectionError:
        return b""


async def test_it_passes_everything_until_it_is_told_otherwise() -> None:
    async with echo() as (port, _), TcpProxy("127.0.0.1", port).serve() as proxy:
        async with client(proxy) as one, client(proxy) as unused:
            assert await ask(*one, b"hello") == b"hello"
            assert await ask(*unused, b"hello") == b"hello"
            proxy.forget()
            assert await ask(*one, b"hello", seconds=0.3) is None
        async with client(proxy) as two:
            assert await ask(*two, b"again") == b"again"
            proxy.black_hole = True
            assert await ask(*two, b"lost", seconds=0.3) is None
            proxy.black_hole = False
            proxy.reset()
            assert await ask(*two, b"lost") == b""
        proxy.refusing = True
        async with client(proxy) as three:
            assert await ask(*three, b"refused") == b""


@pytest.mark.parametrize(("how", "arrives"), [("before", False), ("after", True)])
async def test_a_statement_is_stopped_before_the_server_has_it_or_before_its_answer_is_back(
    how: Literal["before", "after"], arrives: bool
) -> None:
    commit = b"Q\x00\x00\x00\x0cCOMMIT;\x00"
    async with echo() as (port, seen), TcpProxy("127.0.0.1", port).serve() as proxy, client(proxy) as one:
        stop = proxy.breakpoint = Breakpoint(statement("COMMIT"), how)
        assert await ask(*one, b"Q\x00\x00\x00\x0bBEGIN;\x00") is not None
        assert not stop.reached.is_set()
        assert await ask(*one, commit, seconds=0.3) is None
        assert stop.reached.is_set()
        assert (commit in seen) is arrives


async def test_a_prepared_statement_is_known_by_its_name() -> None:
    name = b"__asyncpg_stmt_7__"
    parse = b"P\x00\x00\x00\x40" + name + b"\x00DELETE FROM outbox WHERE partition = $1\x00\x00\x00"
    bind = b"B\x00\x00\x00\x20\x00" + name + b"\x00\x00\x00\x00\x00"
    async with echo() as (port, seen), TcpProxy("127.0.0.1", port).serve() as proxy, client(proxy) as one:
        proxy.breakpoint = Breakpoint(statement("DELETE FROM outbox"), "before")
        assert await ask(*one, parse) == parse
        assert await ask(*one, bind, seconds=0.3) is None
        assert seen == [parse]


async def test_kafkas_frames_come_whole_and_name_the_proxy_as_the_broker() -> None:
    async with echo() as (port, _), TcpProxy("127.0.0.1", port, kafka=True).serve() as proxy, client(proxy) as one:

        def frame(api_key: int, address: int) -> bytes:
            body = struct.pack(">h", api_key) + b"\x0a127.0.0.1" + struct.pack(">i", address)
            return struct.pack(">i", len(body)) + body

        assert await ask(*one, frame(3, port)) == frame(3, proxy.port)
        proxy.breakpoint = Breakpoint(kafka_request(26), "before")
        assert await ask(*one, frame(0, port)) == frame(0, proxy.port)
        assert await ask(*one, frame(26, port), seconds=0.3) is None
