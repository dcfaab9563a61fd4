"""What the delivery tests share: a migrated database, deliveries put into it, workers, and the other side."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import asyncpg
import orjson
import pytest
from pydantic import SecretStr
from touchline_devstack.receivers import MailCatcher, WebhookReceiver
from touchline_notifier.adapters.http.guarded_client import GuardedHttp
from touchline_notifier.adapters.http.slack import SlackChannel
from touchline_notifier.adapters.http.webhook import WebhookChannel
from touchline_notifier.adapters.postgres.delivery_queue import PostgresDeliveryQueue
from touchline_notifier.adapters.postgres.transaction import PostgresTransaction
from touchline_notifier.adapters.smtp.email import EmailChannel
from touchline_notifier.application.delivering.deliver import DeliveryWorker
from touchline_notifier.application.delivering.limits_before_send import LimitsBeforeSend
from touchline_notifier.application.delivering.pre_send_check import CheckBeforeSend
from touchline_notifier.core.delivery.addresses import parse_networks
from touchline_notifier.core.delivery.channel import Channel, Message
from touchline_notifier.core.delivery.endpoints import Endpoint
from touchline_notifier.core.delivery.message_ids import delivery_id
from touchline_notifier.core.delivery.subscriptions import Planned
from touchline_notifier.core.profiles.address_hashes import Hashes
from touchline_notifier.core.profiles.profile import Suppression
from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.database.pools import migrate

from tests.support.waiting import patience, wait_until

SECRET = "whsec_" + base64.b64encode(os.urandom(32)).decode()
LOOPBACK = parse_networks("127.0.0.0/8")
PARTITION = 3
HASHES = Hashes("a key")


@pytest.fixture
def secret() -> str:
    """The signing secret of the receivers."""
    return SECRET


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    """A company system."""
    with WebhookReceiver([SECRET]) as running:
        yield running


@pytest.fixture
def second_receiver() -> Iterator[WebhookReceiver]:
    """Another one."""
    with WebhookReceiver([SECRET]) as running:
        yield running


@pytest.fixture
def mailbox() -> Iterator[MailCatcher]:
    """A mail server."""
    with MailCatcher() as running:
        yield running


@pytest.fixture
def webhook_endpoint() -> Callable[..., Endpoint]:
    """Makes a webhook endpoint."""

    def make(name: str, url: str, **more: Any) -> Endpoint:
        return Endpoint(name=name, url=SecretStr(url), secret=(SecretStr(SECRET),), **more)

    return make


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    """Connections to a migrated database of the test's own."""
    settings = ServiceSettings(database_url=SecretStr(database_url))
    await migrate(settings, package="touchline_notifier.migrations", schema="notifier")
    async with asyncpg.create_pool(
        database_url, min_size=1, max_size=12, server_settings={"search_path": "notifier"}
    ) as created:
        yield created


@dataclass
class StoredDeliveries:
    """Writes deliveries down and reads what became of them."""

    pool: asyncpg.Pool

    async def subscription(self, endpoint: str, *, fact: str | None = None, customer: str = "c-1") -> str:
        """A fact for a subscriber, due now; returns the delivery's id."""
        fact = fact or str(uuid4())
        identifier = str(delivery_id(fact, endpoint))
        message = Message(
            identifier, "touchline.stage-changed", "2026-03-01T12:00:00Z", customer, {"to_stage": "reach"}
        )
        await self._put([Planned(identifier, fact, customer, "webhook", endpoint, message)])
        return identifier

    async def action(
        self, endpoint: str, *, channel: str = "webhook", first_before: datetime | None = None, **message: Any
    ) -> tuple[str, str]:
        """A decided action and its delivery, due now; returns (action id, delivery id)."""
        action = uuid4()
        now = datetime.now(UTC)
        await self.pool.execute(
            """
            INSERT INTO actions (action_id, partition, play, fact_id, fact_type, fact, customer_id, lifecycle,
                                          stage, channel, endpoint, outcome, fact_at, decided_at, events)
            VALUES ($1, $2, 'win-back', 'f-1', 'customer-stalled', '{}', 'c-1', 'service-cycle', 'retention', $3, $4,
                    'decided', $5, $5, 1)
            """,
            action, PARTITION, channel, endpoint, now,
        )  # fmt: skip
        identifier = str(delivery_id(action, endpoint))
        text = Message(identifier, "touchline.action", "2026-03-01T12:00:00Z", "c-1", **message)
        planned = Planned(identifier, "f-1", "c-1", channel, endpoint, text, action_id=str(action))
        await self._put([replace(planned, first_before=first_before)])
        return str(action), identifier

    async def _put(self, planned: list[Planned]) -> None:
        now = datetime.now(UTC)
        async with self.pool.acquire() as connection, connection.transaction():
            await PostgresTransaction(connection, HASHES, 8).add_deliveries(PARTITION, planned, due=now, now=now)

    async def delivery(self, identifier: str) -> asyncpg.Record:
        """The row."""
        row = await self.pool.fetchrow("SELECT * FROM deliveries WHERE id = $1", identifier)
        assert row is not None
        return row

    async def due_now(self, attempts: int | None = None) -> None:
        """Let the time of every retry come (of deliveries with so many attempts), and that of every pause."""
        await self.pool.execute(
            "UPDATE deliveries SET next_attempt_at = now() "
            "WHERE status = 'pending' AND attempts = coalesce($1, attempts)",
            attempts,
        )
        await self.pool.execute("UPDATE endpoint_state SET retry_after = now() WHERE retry_after IS NOT NULL")

    async def suppress(self, address: str, reason: str) -> None:
        """Suppress an address."""
        async with self.pool.acquire() as connection:
            customers = PostgresTransaction(connection, HASHES, 8).customers
            await customers.save_suppressions([Suppression(address, reason, datetime.now(UTC))])

    async def refuse(self, customer: str, channel: str) -> None:
        """Let a customer refuse consent for a channel."""
        now = datetime.now(UTC)
        async with self.pool.acquire() as connection, connection.transaction():
            customers = PostgresTransaction(connection, HASHES, 8).customers
            profiles = await customers.lock_profiles([customer], now)
            profiles[customer].values[f"consent.{channel}"] = [False, 0, "t-1"]
            await customers.save_profiles(profiles, now)

    async def outbox(self) -> list[tuple[str, str, dict[str, str], Any]]:
        """(topic, key, headers, value) of every event, in order."""
        rows = await self.pool.fetch("SELECT * FROM outbox ORDER BY id")
        return [
            (row["topic"], row["key"], dict(orjson.loads(row["headers"])), orjson.loads(row["value"])) for row in rows
        ]

    async def until_status(self, identifier: str, *statuses: str, seconds: float = 60) -> asyncpg.Record:
        """Wait for a delivery to get there."""

        async def reached() -> bool:
            return (await self.delivery(identifier))["status"] in statuses

        await wait_until(reached, seconds=seconds)
        return await self.delivery(identifier)

    async def until_attempted(self, identifier: str, attempts: int) -> asyncpg.Record:
        """Wait for a delivery's failed attempt to be written down."""

        async def reached() -> bool:
            row = await self.delivery(identifier)
            return bool(row["attempts"] >= attempts and row["status"] != "delivering")

        await wait_until(reached)
        return await self.delivery(identifier)


@pytest.fixture
def stored(pool: asyncpg.Pool) -> StoredDeliveries:
    """The deliveries."""
    return StoredDeliveries(pool)


@asynccontextmanager
async def running(
    pool: asyncpg.Pool,
    *endpoints: Endpoint,
    http: GuardedHttp | None = None,
    more: dict[str, Channel] | None = None,
    cut_off: bool = False,
    limits: LimitsBeforeSend | None = None,
) -> AsyncIterator[DeliveryWorker]:
    """A worker at work; in the end it is told to stop, or cut off in the middle of what it does."""
    http = http or GuardedHttp(LOOPBACK)
    channels: dict[str, Channel] = {
        "webhook": WebhookChannel(http), "email": EmailChannel(), "slack": SlackChannel(http), **(more or {})
    }  # fmt: skip
    named = {endpoint.name: endpoint for endpoint in endpoints}
    queue = PostgresDeliveryQueue(pool, HASHES, CheckBeforeSend(limits), partitions=8)
    worker = DeliveryWorker(queue, channels, named)
    stopping = asyncio.Event()
    task = asyncio.create_task(worker.run(stopping))
    try:
        yield worker
        if not cut_off:
            stopping.set()
            async with asyncio.timeout(60 * patience()):
                await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await http.close()


@pytest.fixture
def working(pool: asyncpg.Pool) -> Callable[..., Any]:
    """``async with working(endpoint, …) as worker:`` delivers meanwhile."""

    def start(*endpoints: Endpoint, **more: Any) -> Any:
        return running(pool, *endpoints, **more)

    return start
