"""A worker killed in the middle of a send: another sends the same message again, under the same id."""

import asyncio
import base64
import os
import signal
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest
from pydantic import SecretStr
from touchline_devstack.receivers import Answer, WebhookReceiver
from touchline_notifier.adapters.postgres.transaction import PostgresTransaction
from touchline_notifier.core.delivery.channel import Message
from touchline_notifier.core.delivery.message_ids import delivery_id
from touchline_notifier.core.delivery.subscriptions import Planned
from touchline_notifier.core.profiles.address_hashes import Hashes
from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.database.pools import migrate

from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.faults]

WORKER = textwrap.dedent(
    """
    import asyncio, sys
    import asyncpg
    from pydantic import SecretStr
    from touchline_notifier.adapters.http.guarded_client import GuardedHttp
    from touchline_notifier.adapters.http.webhook import WebhookChannel
    from touchline_notifier.adapters.postgres.delivery_queue import PostgresDeliveryQueue
    from touchline_notifier.application.delivering.deliver import DeliveryWorker
    from touchline_notifier.application.delivering.pre_send_check import CheckBeforeSend
    from touchline_notifier.core.profiles.address_hashes import Hashes
    from touchline_notifier.core.delivery.addresses import parse_networks
    from touchline_notifier.core.delivery.endpoints import Endpoint

    async def main(database, url, secret):
        endpoint = Endpoint(name="crm", url=SecretStr(url), secret=(SecretStr(secret),))
        async with asyncpg.create_pool(
            database, min_size=1, max_size=4, server_settings={"search_path": "notifier"}
        ) as pool:
            channels = {"webhook": WebhookChannel(GuardedHttp(parse_networks("127.0.0.0/8")))}
            queue = PostgresDeliveryQueue(pool, Hashes("key"), CheckBeforeSend(), partitions=8)
            await DeliveryWorker(queue, channels, {"crm": endpoint}).run(asyncio.Event())

    asyncio.run(main(*sys.argv[1:]))
    """
)


async def test_workers_killed_in_turn_lose_nothing_and_repeat_only_what_was_in_their_hands(database_url: str) -> None:
    secret = "whsec_" + base64.b64encode(os.urandom(32)).decode()
    await migrate(
        ServiceSettings(database_url=SecretStr(database_url)),
        package="touchline_notifier.migrations",
        schema="notifier",
    )
    slow = asyncio.Event()
    slow.set()
    with WebhookReceiver([secret]) as receiver:
        receiver.answer = lambda arrived: Answer(pause_seconds=60 if slow.is_set() else 0.05)
        connection = await asyncpg.connect(database_url, server_settings={"search_path": "notifier"})
        now = datetime.now(UTC)
        planned = []
        for _ in range(40):
            fact = str(uuid4())
            identifier = str(delivery_id(fact, "crm"))
            message = Message(identifier, "touchline.stage-changed", "2026-03-01T12:00:00Z", "c-1")
            planned.append(Planned(identifier, fact, "c-1", "webhook", "crm", message))
        await PostgresTransaction(connection, Hashes("key"), 8).add_deliveries(0, planned, due=now, now=now)

        async def start() -> asyncio.subprocess.Process:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-c", WORKER, database_url, receiver.url, secret
            )

        first = await start()
        try:

            async def in_hand() -> bool:
                return len(receiver.arrived) == 8

            await wait_until(in_hand)
            slow.clear()
        finally:
            first.send_signal(signal.SIGKILL)
            await first.wait()

        second = await start()
        third: asyncio.subprocess.Process | None = None
        try:

            async def half() -> bool:
                return int(await connection.fetchval("SELECT count(*) FROM deliveries WHERE status = 'sent'")) > 15

            await wait_until(half)
            second.send_signal(signal.SIGKILL)
            await second.wait()
            # Nobody waits longer than a lease for a dead worker's rows.
            killed_at = datetime.now(UTC)
            until = await connection.fetchval(
                "SELECT max(greatest(locked_until, next_attempt_at)) FROM deliveries WHERE status <> 'sent'"
            )
            assert until <= killed_at + timedelta(seconds=15)
            third = await start()

            async def all_sent() -> bool:
                return not await connection.fetchval("SELECT count(*) FROM deliveries WHERE status <> 'sent'")

            await wait_until(all_sent)
        finally:
            for process in (second, third):
                if process is not None and process.returncode is None:
                    process.kill()
                    await process.wait()
        assert len({one.webhook_id for one in receiver.arrived}) == len(planned)
        counts = receiver.counts()
        assert counts["invalid"] == 0
        assert counts["duplicates"] <= 16  # eight in each dead worker's hands
        await connection.close()
