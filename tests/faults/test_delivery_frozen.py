"""A worker that was stopped looks at its lease when it wakes: what another has sent meanwhile is not sent again."""

import asyncio
import contextlib
import signal
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import asyncpg
import pytest
from pydantic import SecretStr
from touchline_notifier.adapters.postgres.transaction import PostgresTransaction
from touchline_notifier.core.delivery.channel import Message
from touchline_notifier.core.delivery.message_ids import delivery_id
from touchline_notifier.core.delivery.subscriptions import Planned
from touchline_notifier.core.profiles.address_hashes import Hashes
from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.database.pools import migrate

from tests.support.waiting import patience

pytestmark = [pytest.mark.stack, pytest.mark.faults]

WORKER = textwrap.dedent(
    """
    import asyncio, sys
    import asyncpg
    from touchline_notifier.adapters.smtp.email import EmailChannel
    from touchline_notifier.adapters.postgres.delivery_queue import PostgresDeliveryQueue
    from touchline_notifier.application.delivering.deliver import DeliveryWorker
    from touchline_notifier.application.delivering.pre_send_check import CheckBeforeSend
    from touchline_notifier.core.profiles.address_hashes import Hashes
    from touchline_notifier.core.delivery.endpoints import Endpoint, Smtp

    async def main(database, port):
        smtp = Smtp(host="127.0.0.1", port=int(port), tls="none", timeout_seconds=60)
        endpoint = Endpoint(name="mail", type="email", smtp=smtp, sender="care@example.org")
        async with asyncpg.create_pool(
            database, min_size=1, max_size=4, server_settings={"search_path": "notifier"}
        ) as pool:
            queue = PostgresDeliveryQueue(pool, Hashes("key"), CheckBeforeSend(), partitions=8)
            worker = DeliveryWorker(queue, {"email": EmailChannel()}, {"mail": endpoint})
            await worker.run(asyncio.Event())

    asyncio.run(main(*sys.argv[1:]))
    """
)


class SlowAnswer:
    """A mail server that answers one step of its first connection when it is let to; everything else at once.

    Args:
        step: the command, or ``greeting``.
    """

    def __init__(self, step: str) -> None:
        self.step = step
        self.waits = asyncio.Event()
        self.answer = asyncio.Event()
        self.first_closed = asyncio.Event()
        self.mails = 0
        self.connections = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        first = self.connections == 1
        with contextlib.suppress(ConnectionError):
            await self.talk(reader, writer, slow=self.step if first else "")
        writer.close()
        if first:
            self.first_closed.set()

    async def reached(self, step: str, slow: str) -> None:
        if step == slow:
            self.waits.set()
            await self.answer.wait()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, slow: str) -> None:
        await self.reached("greeting", slow)
        writer.write(b"220 ready\r\n")
        while line := await reader.readline():
            word = line[:4].upper()
            await self.reached(word.decode(), slow)
            if word == b"DATA":
                writer.write(b"354 go on\r\n")
                while (line := await reader.readline()) not in (b".\r\n", b""):
                    pass
                if not line:
                    return
                self.mails += 1
            writer.write(b"250 fine\r\n" if word != b"QUIT" else b"221 bye\r\n")
            if word == b"QUIT":
                return


@asynccontextmanager
async def worker(database_url: str, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, database_url, str(port))
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.mark.parametrize("step", ["greeting", "EHLO", "MAIL", "RCPT", "DATA"])
async def test_a_worker_frozen_before_it_has_sent_sends_nothing_on_waking(database_url: str, step: str) -> None:
    settings = ServiceSettings(database_url=SecretStr(database_url))
    await migrate(settings, package="touchline_notifier.migrations", schema="notifier")
    connection = await asyncpg.connect(database_url, server_settings={"search_path": "notifier"})
    ident = str(delivery_id("f-1", "mail"))
    message = Message(
        ident, "touchline.action", "2026-03-01T12:00:00Z", "c-1", to="ada@example.org", subject="Hi", text="Hi"
    )
    now = datetime.now(UTC)
    planned = [Planned(ident, "f-1", "c-1", "email", "mail", message)]
    await PostgresTransaction(connection, Hashes("key"), 8).add_deliveries(0, planned, due=now, now=now)
    slow = SlowAnswer(step)
    server = await asyncio.start_server(slow.handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, worker(database_url, port) as frozen:
        async with asyncio.timeout(60 * patience()):
            await slow.waits.wait()
        frozen.send_signal(signal.SIGSTOP)
        async with worker(database_url, port):
            # After the lease, the other one takes the delivery over and sends it.
            async with asyncio.timeout(60 * patience()):
                while slow.mails == 0:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            slow.answer.set()
            await asyncio.sleep(0.5)
            frozen.send_signal(signal.SIGCONT)
            async with asyncio.timeout(60 * patience()):
                await slow.first_closed.wait()
        assert frozen.returncode is None, "it lives on"
    assert slow.mails == 1
    assert await connection.fetchval("SELECT status FROM deliveries") == "sent"
    await connection.close()
