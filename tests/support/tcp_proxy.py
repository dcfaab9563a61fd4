"""A TCP proxy between a service and Kafka or PostgreSQL that misbehaves on demand.

It adds latency, resets connections, leaves them half open, swallows everything, and stops a connection at a named
step: right before a request that matches leaves, or right after it left and before its answer comes back.
"""

import asyncio
import contextlib
import re
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

_LARGEST_FRAME = 64 << 20
_STATEMENT = re.compile(rb"P.{4}(__asyncpg_stmt_\w+)\x00([^\x00]*)\x00", re.DOTALL)


@dataclass(eq=False)
class Connection:
    """One proxied connection: the writers to both sides, and the prepared statements by name."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    statements: dict[bytes, bytes] = field(default_factory=dict)
    held: bool = False
    """Requests are not forwarded any more."""
    mute: bool = False
    """Answers are not forwarded any more."""

    def abort(self) -> None:
        """Reset both sides."""
        for writer in (self.client, self.server):
            writer.transport.abort()


Match = Callable[[Connection, bytes], bool]


@dataclass
class Breakpoint:
    """Stops the first connection that sends a request that matches. `reached` is set when it stands."""

    matches: Match
    how: Literal["before", "after"]
    reached: asyncio.Event = field(default_factory=asyncio.Event)


def statement(text: str) -> Match:
    """PostgreSQL: a simple query, or the execution of a prepared statement, that begins with a text."""
    wanted = text.encode()

    def matches(connection: Connection, chunk: bytes) -> bool:
        for name, query in _STATEMENT.findall(chunk):
            connection.statements[name] = query.strip()
        if b"Q" in chunk and wanted in chunk:
            return True
        return any(
            query.startswith(wanted) and b"\x00" + name + b"\x00" in chunk and b"B" in chunk
            for name, query in connection.statements.items()
        )

    return matches


def kafka_request(api_key: int) -> Match:
    """Kafka: a request of a kind (0: Produce, 1: Fetch, 26: EndTxn)."""
    return lambda connection, frame: struct.unpack(">h", frame[4:6])[0] == api_key


class TcpProxy:
    """Forwards connections of one process to one server.

    Args:
        kafka: frames are Kafka's, and the broker's port in its answers is replaced by the proxy's, so that clients keep
            going through the proxy.
    """

    def __init__(self, host: str, port: int, *, kafka: bool = False) -> None:
        self._target = (host, port)
        self._kafka = kafka
        self._open: set[Connection] = set()
        self._handlers: set[asyncio.Task[None]] = set()
        self.port = 0
        self.latency = 0.0
        """Seconds added to each chunk, in both directions."""
        self.refusing = False
        self.black_hole = False
        """Connections are accepted, and nothing passes."""
        self.breakpoint: Breakpoint | None = None

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["TcpProxy"]:
        """Listen on a free port of loopback."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.reset()
            await asyncio.gather(*self._handlers, return_exceptions=True)

    def reset(self) -> None:
        """Reset every connection."""
        for connection in list(self._open):
            connection.abort()

    def forget(self) -> None:
        """Leave the present connections half open: nothing passes, nothing closes. New ones work."""
        for connection in self._open:
            connection.held = connection.mute = True

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)
        if self.refusing:
            writer.transport.abort()
            return
        try:
            answers, server = await asyncio.open_connection(*self._target, limit=1 << 20)
        except OSError:
            writer.transport.abort()
            return
        connection = Connection(writer, server)
        self._open.add(connection)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            tasks = [
                asyncio.ensure_future(self._requests(connection, reader)),
                asyncio.ensure_future(self._answers(connection, answers)),
            ]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        self._open.discard(connection)
        connection.abort()

    async def _chunks(self, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
        if not self._kafka:
            while data := await reader.read(65_536):
                yield data
            return
        while True:
            head = await reader.readexactly(4)
            (length,) = struct.unpack(">i", head)
            assert 0 <= length < _LARGEST_FRAME, length
            yield head + await reader.readexactly(length)

    async def _requests(self, connection: Connection, reader: asyncio.StreamReader) -> None:
        async for chunk in self._chunks(reader):
            stop = self.breakpoint
            if stop is not None and not stop.reached.is_set() and stop.matches(connection, chunk):
                connection.mute = True
                connection.held = connection.held or stop.how == "before"
                if stop.how == "after":
                    connection.server.write(chunk)
                    await connection.server.drain()
                    connection.held = True
                stop.reached.set()
            await self._forward(connection.server, chunk, lost=connection.held)

    async def _answers(self, connection: Connection, reader: asyncio.StreamReader) -> None:
        async for chunk in self._chunks(reader):
            if self._kafka:
                there, here = (b"127.0.0.1" + struct.pack(">i", port) for port in (self._target[1], self.port))
                chunk = chunk.replace(there, here)
            await self._forward(connection.client, chunk, lost=connection.mute)

    async def _forward(self, writer: asyncio.StreamWriter, chunk: bytes, *, lost: bool) -> None:
        if self.latency:
            await asyncio.sleep(self.latency)
        if lost or self.black_hole:
            return
        writer.write(chunk)
        await writer.drain()
