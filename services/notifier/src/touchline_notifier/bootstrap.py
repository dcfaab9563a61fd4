"""Where the notifier is put together: the only place that builds things."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from touchline_runtime import database, kafka, logs
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.health import Health
from touchline_runtime.kafka import Admin, WantedTopic
from touchline_runtime.metrics import Metrics
from touchline_runtime.process import Component, Failed, listen
from touchline_runtime.process import run as run_process
from touchline_schemas.topics import TOPICS

from touchline_notifier.adapters import decision_sql as sql
from touchline_notifier.adapters.channels.email import EmailChannel
from touchline_notifier.adapters.channels.guarded_http import GuardedHttp
from touchline_notifier.adapters.channels.registry import load_channels
from touchline_notifier.adapters.channels.slack import SlackChannel
from touchline_notifier.adapters.channels.webhook import WebhookChannel
from touchline_notifier.adapters.decisions import Desk
from touchline_notifier.adapters.delivery_observing import MeteredDeliveries
from touchline_notifier.adapters.delivery_worker import DeliveryWorker
from touchline_notifier.adapters.files import read_endpoints
from touchline_notifier.adapters.hashes import Hashes
from touchline_notifier.adapters.lifecycles import await_lifecycles
from touchline_notifier.adapters.observing import MeteredReader
from touchline_notifier.adapters.operations import Operations
from touchline_notifier.adapters.queries import Queries
from touchline_notifier.adapters.reader import Reader
from touchline_notifier.adapters.recorded import happenings, recorded_books
from touchline_notifier.adapters.rulebook import Checked, Rulebook, check_plays, known_here, read_rulebook, read_shipped
from touchline_notifier.adapters.unsubscribing import UnsubscribeLinks
from touchline_notifier.core.channel import Channel
from touchline_notifier.core.deciding import Decider
from touchline_notifier.core.delivery.addresses import parse_networks
from touchline_notifier.core.delivery.unsubscribe import UnsubscribeTokens, Unsubscription
from touchline_notifier.core.play import Play
from touchline_notifier.core.ports import Sending
from touchline_notifier.core.preview import Previewed, Wanted, preview
from touchline_notifier.core.rendering import Templates, UnsubscribeLink
from touchline_notifier.entrypoints.api import Api, build_api
from touchline_notifier.metrics import DECISION_METRICS
from touchline_notifier.settings import NotifierSettings

log = structlog.get_logger(__name__)

PACKAGE_OF_MIGRATIONS = "touchline_notifier.migrations"
VERSION = version("touchline-notifier")


def build_channels(settings: NotifierSettings) -> dict[str, Channel]:
    """All channels, ours and installed ones.

    Raises:
        ConfigurationError: the allowed networks are wrong, or an installed channel is.
    """
    try:
        networks = parse_networks(settings.delivery_allowed_networks)
    except ValueError as error:
        raise ConfigurationError(f"TOUCHLINE_DELIVERY_ALLOWED_NETWORKS: {error}") from None
    http = GuardedHttp(networks)
    return load_channels([WebhookChannel(http), SlackChannel(http), EmailChannel()])


def customer_channels(channels: Mapping[str, Channel]) -> frozenset[str]:
    """The channels that write to customers: they need an address, and leave."""
    return frozenset(name for name, channel in channels.items() if channel.needs_address)


def wanted_topics(settings: NotifierSettings) -> list[WantedTopic]:
    """All topics of the contract: whoever starts first makes them."""
    return [
        WantedTopic(
            topic.full_name(settings.topic_prefix), 1 if topic.one_partition else settings.partitions, topic.config()
        )
        for topic in TOPICS
    ]


@dataclass(frozen=True)
class Base:
    """What every process of the notifier has."""

    settings: NotifierSettings
    admin: Admin
    pool: asyncpg.Pool
    health: Health
    metrics: Metrics
    stream: str
    hashes: Hashes
    tokens: UnsubscribeTokens


async def migrate(settings: NotifierSettings) -> None:
    """Create or migrate the tables."""
    await database.migrate(settings, package=PACKAGE_OF_MIGRATIONS, schema=settings.schema_name)


@asynccontextmanager
async def base(settings: NotifierSettings) -> AsyncIterator[Base]:
    """Kafka and PostgreSQL reached, topics and tables made, secrets known."""
    if settings.auto_migrate:
        await migrate(settings)
    async with (
        Admin(settings, f"{settings.topic_prefix}-notifier-admin") as admin,
        database.pool(
            settings, application_name="touchline-notifier", size=10, search_path=settings.search_path
        ) as pool,
    ):
        await admin.ensure_topics(wanted_topics(settings))
        stream = f"{await admin.cluster_id()}/{settings.topic_prefix}"
        try:
            kept = await pool.fetchval(sql.KEPT_KEY, secrets.token_urlsafe(32))
        except asyncpg.UndefinedTableError:
            raise ConfigurationError(
                "the notifier's tables are missing: run `touchline-notifier migrate`, or set TOUCHLINE_AUTO_MIGRATE"
            ) from None
        given = [one.strip() for one in settings.unsubscribe_secret.get_secret_value().split(",") if one.strip()]
        health = Health()
        health.add("kafka", lambda: kafka.answers(admin))
        health.add("postgresql", lambda: database.answers(pool))
        yield Base(
            settings, admin, pool, health, Metrics(DECISION_METRICS), stream, Hashes(kept),
            UnsubscribeTokens(*(given or [kept])),
        )  # fmt: skip


def unsubscribe_link(tokens: UnsubscribeTokens, public_url: str) -> UnsubscribeLink:
    """Makes one-click addresses."""
    root = public_url.rstrip("/")

    def link(customer_id: str, channel: str) -> str:
        return f"{root}/v1/unsubscribe/{tokens.make(Unsubscription(customer_id, channel))}"

    return link


@dataclass
class Starting:
    """A component that waits for the lifecycles its plays are about, then runs the others.

    So the process answers ``/healthz`` while the engine is still starting, and isn't ready before it has.
    """

    base: Base
    rulebook: Rulebook
    components: Sequence[Component]
    name: str = "notifier"
    waiting: bool = field(default=True, init=False)

    async def check(self) -> None:
        """A health check: the lifecycles are known."""
        if self.waiting:
            raise ConfigurationError("waiting for the stage engine to publish the lifecycles that the plays are about")

    async def run(self, stopping: asyncio.Event) -> None:
        """Wait, then run everything until told to stop."""
        settings = self.base.settings
        if self.rulebook.plays:
            faults = await await_lifecycles(
                settings,
                self.rulebook.faults_with,
                known_already=known_here(settings),
                wait_seconds=settings.lifecycles_wait_seconds,
                stopping=stopping,
            )
            if faults:
                raise ConfigurationError("\n  ".join(["the notifier can't start:", *map(str, faults)]))
        self.waiting = False
        log.info("running", plays=sorted(self.rulebook.plays), endpoints=sorted(self.rulebook.endpoints))
        async with asyncio.TaskGroup() as group:
            for component in self.components:
                group.create_task(component.run(stopping), name=component.name)


def _api(built: Base, rulebook: Rulebook, wake_delivery: Callable[[], None] = lambda: None) -> Api:
    return Api(
        queries=Queries(built.pool),
        operations=Operations(built.pool),
        unsubscribe=UnsubscribeLinks(built.pool, built.hashes, built.settings.partitions),
        tokens=built.tokens,
        plays=rulebook.plays,
        endpoints=rulebook.endpoints,
        token_hashes=built.settings.token_hashes(),
        wake_delivery=wake_delivery,
    )


async def run(settings: NotifierSettings) -> Failed | None:
    """The whole notifier in one process: decide, deliver, publish, and answer queries."""
    logs.configure("notifier", format=settings.log_format, level=settings.log_level)
    channels = build_channels(settings)
    rulebook = read_rulebook(settings, channels)
    sock = listen(settings.http_host, settings.http_port)
    host, port = sock.getsockname()[:2]
    async with base(settings) as built:
        link = unsubscribe_link(built.tokens, settings.public_url or f"http://{host}:{port}")
        to_customers = customer_channels(channels)
        decider = Decider(rulebook.plays, Templates(link))
        desk = Desk(decider, rulebook.endpoints, built.hashes, settings.partitions, to_customers)
        metered = MeteredDeliveries(built.metrics)
        worker = DeliveryWorker(
            built.pool, built.hashes, channels, rulebook.endpoints, metered, sending=settings.sending
        )
        reader = Reader(
            settings, desk, MeteredReader(built.metrics),
            stream=built.stream,
            worker=settings.worker(port) if settings.worker_id or settings.http_port else None,
            sending=settings.sending,
            wake_delivery=worker.wake,
        )  # fmt: skip
        starting = Starting(built, rulebook, [reader, worker])
        built.health.add("lifecycles", starting.check)
        built.health.add("reader", reader.check)
        api = _api(built, rulebook, worker.wake)
        app = build_api(api, version=VERSION, health=built.health, metrics=built.metrics)
        failed = await run_process(app, sock, [starting], settings=settings)
        for channel in channels.values():
            await channel.close()
        if failed is not None and isinstance(failed.error, ConfigurationError):
            raise failed.error
        return failed


async def serve(settings: NotifierSettings) -> Failed | None:
    """The API and the pages alone."""
    logs.configure("notifier", format=settings.log_format, level=settings.log_level)
    channels = build_channels(settings)
    rulebook = read_rulebook(settings, channels)
    sock = listen(settings.http_host, settings.http_port)
    async with base(settings) as built:
        api = _api(built, rulebook)
        app = build_api(api, version=VERSION, health=built.health, metrics=built.metrics)
        return await run_process(app, sock, [], settings=settings)


@asynccontextmanager
async def operating(settings: NotifierSettings) -> AsyncIterator[tuple[Operations, Queries]]:
    """For one command of an operator."""
    name = "touchline-notifier-operator"
    async with database.pool(settings, application_name=name, size=1, search_path=settings.search_path) as pool:
        yield Operations(pool), Queries(pool)


async def replay(settings: NotifierSettings, deliveries: Sequence[UUID]) -> dict[UUID, str | None]:
    """Have deliveries tried again from the start; each one's status then, None where there is no such delivery."""
    async with operating(settings) as (operations, _):
        return {one: await operations.replay(one, datetime.now(UTC)) for one in deliveries}


async def endpoints(settings: NotifierSettings) -> list[dict[str, Any]]:
    """Endpoints, with what was learnt about each."""
    configured = read_endpoints(settings.endpoints_file)
    async with operating(settings) as (_, queries):
        return await queries.endpoints(configured)


async def enable(settings: NotifierSettings, names: Sequence[str]) -> None:
    """Send to endpoints again that are disabled, or that wait for their breakers.

    Raises:
        ConfigurationError: there is no such endpoint; none was enabled then.
    """
    configured = read_endpoints(settings.endpoints_file)
    async with operating(settings) as (operations, queries):
        there = [one["endpoint"] for one in await queries.endpoints(configured)]
        for name in names:
            if name not in there:
                raise ConfigurationError(f"there is no endpoint {name!r}: there are {', '.join(there) or 'none'}")
        for name in names:
            await operations.enable(name, datetime.now(UTC))


async def switch(settings: NotifierSettings, *, sending: bool, reason: str | None) -> None:
    """Turn the global switch that is kept in the database."""
    async with operating(settings) as (operations, _):
        await operations.switch(Sending(sending, reason))


async def previewed(settings: NotifierSettings, wanted: Wanted) -> list[Previewed]:
    """Everything the plays would do with recorded facts. Nothing is sent.

    Raises:
        ConfigurationError: plays, facts or settings are wrong.
    """
    channels = build_channels(settings)
    rulebook = read_rulebook(settings, channels, to_run=False)
    found = await happenings(settings, wanted, datetime.now(UTC))
    decider = Decider(rulebook.plays, Templates())
    to_customers = customer_channels(channels)
    async with AsyncExitStack() as stack:
        pool, key = None, ""
        if settings.database_url.get_secret_value():
            name = "touchline-notifier-preview"
            given = database.pool(settings, application_name=name, size=1, search_path=settings.search_path)
            pool = await stack.enter_async_context(given)
            try:
                key = str(await pool.fetchval(sql.KNOWN_KEY))
            except asyncpg.UndefinedTableError:
                pool = None  # no notifier ever ran here: nothing is known of anybody
        desk = Desk(decider, rulebook.endpoints, Hashes(key), settings.partitions, to_customers)
        books = await recorded_books(pool, desk, found)
    # What waits is followed for as long as any play waits.
    longest = max((play.max_age for play in rulebook.plays.values()), default=timedelta(0))
    until = max((one.at for one in found), default=datetime.now(UTC)) + longest
    return preview(decider, found, books, until=until, to_customers=to_customers)


def check(settings: NotifierSettings, folder: Path) -> Checked:
    """Check the plays of a folder, or of one file, as far as that goes without an engine."""
    return check_plays(settings, folder, build_channels(settings))


def shipped() -> dict[str, tuple[str, Play]]:
    """The plays that ship: name → (path, play)."""
    return read_shipped()
