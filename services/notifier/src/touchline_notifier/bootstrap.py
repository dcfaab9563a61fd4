"""Where the notifier is put together: the only place that builds adapters and connects them to the use cases."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

import asyncpg
import structlog
from touchline_runtime.audit.postgres import PostgresAuditLog
from touchline_runtime.audit.retention import AuditRetention
from touchline_runtime.database import pools as database
from touchline_runtime.database.readiness import tables_answer
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.kafka import clients as kafka
from touchline_runtime.kafka.clients import Admin
from touchline_runtime.metrics import Metrics
from touchline_runtime.process import logs
from touchline_runtime.process.health import Health
from touchline_runtime.process.run import Component, Failed, listen
from touchline_runtime.process.run import run as run_process
from touchline_runtime.tracing import Tracing, tracing_of

from touchline_notifier.adapters.channel_registry import load_channels
from touchline_notifier.adapters.files.play_files import read_files
from touchline_notifier.adapters.http.guarded_client import GuardedHttp
from touchline_notifier.adapters.http.slack import SlackChannel
from touchline_notifier.adapters.http.webhook import WebhookChannel
from touchline_notifier.adapters.kafka.audience_changes import KafkaAudienceChanges
from touchline_notifier.adapters.kafka.lifecycles import KafkaLifecycles, await_lifecycles
from touchline_notifier.adapters.kafka.topics import ensure_topics
from touchline_notifier.adapters.metrics.decisions import MeteredReader
from touchline_notifier.adapters.metrics.deliveries import MeteredDeliveries
from touchline_notifier.adapters.metrics.mail_events import metered_mail_events
from touchline_notifier.adapters.postgres import decision_statements as sql
from touchline_notifier.adapters.postgres.audiences.members import PostgresAudiences
from touchline_notifier.adapters.postgres.delivery_queue import PostgresDeliveryQueue
from touchline_notifier.adapters.postgres.mail_events import PostgresMailEvents
from touchline_notifier.adapters.postgres.operations import PostgresOperations
from touchline_notifier.adapters.postgres.partitions.repartitioning import refile
from touchline_notifier.adapters.postgres.plays.published import PostgresPlayStore, PostgresPublishedPlays
from touchline_notifier.adapters.postgres.plays.recent_customers import PostgresRecentCustomers
from touchline_notifier.adapters.postgres.plays.testing import PostgresTestLog
from touchline_notifier.adapters.postgres.reads.insights import PostgresInsights
from touchline_notifier.adapters.postgres.reads.queries import PostgresQueries
from touchline_notifier.adapters.postgres.reads.sampled_metrics import SampledMetrics
from touchline_notifier.adapters.postgres.reads.sequences import PostgresSequences
from touchline_notifier.adapters.postgres.retention import PostgresFinishedRows
from touchline_notifier.adapters.postgres.suppressions import PostgresConsent, PostgresSuppressions
from touchline_notifier.adapters.postgres.unsubscribe import PostgresSubscriptionStore, link_keys
from touchline_notifier.adapters.processes.previews import PreviewSubprocesses
from touchline_notifier.adapters.sessions import diagnose, session_opener
from touchline_notifier.adapters.smtp.email import EmailChannel
from touchline_notifier.application.audiences import AudienceReader
from touchline_notifier.application.deciding.decide import DecisionContext
from touchline_notifier.application.deciding.reader import Reader
from touchline_notifier.application.delivering.deliver import DeliveryWorker
from touchline_notifier.application.delivering.limits_before_send import LimitsBeforeSend
from touchline_notifier.application.delivering.pre_send_check import CheckBeforeSend
from touchline_notifier.application.plays.checking import PlayChecker
from touchline_notifier.application.plays.live import LivePlays
from touchline_notifier.application.plays.publishing import record_files
from touchline_notifier.application.plays.testing import PlayTester
from touchline_notifier.application.plays_in_force import (
    ConfiguredFiles,
    PlaysInForce,
    cannot_start,
    customer_channels,
    parse_files,
)
from touchline_notifier.application.retention import Retention
from touchline_notifier.application.startup import Startup, public_url
from touchline_notifier.application.tracking import MailEventJudge, MailEventWriter, TrackedMails
from touchline_notifier.application.unsubscribe import UnsubscribeLinks
from touchline_notifier.core.decisions.decide import Decider
from touchline_notifier.core.delivery.addresses import parse_networks
from touchline_notifier.core.delivery.channel import Channel
from touchline_notifier.core.plays.rendering import Templates, UnsubscribeLink
from touchline_notifier.core.profiles.address_hashes import Hashes
from touchline_notifier.core.tracking.links import MailTracker
from touchline_notifier.core.tracking.tokens import MailTokens
from touchline_notifier.core.unsubscribe.tokens import UnsubscribeTokens
from touchline_notifier.entrypoints.http.api import Api, build_api
from touchline_notifier.entrypoints.http.plays.previews import PreviewRoutes
from touchline_notifier.entrypoints.http.plays.publishing import PublishingRoutes
from touchline_notifier.entrypoints.http.plays.testing import TestingRoutes
from touchline_notifier.metrics import DECISION_METRICS, MAIL_EVENTS_LOST, PARTITIONS
from touchline_notifier.settings import NotifierSettings

log = structlog.get_logger(__name__)

PACKAGE_OF_MIGRATIONS = "touchline_notifier.migrations"
VERSION = version("touchline-notifier")


def build_channels(settings: NotifierSettings) -> dict[str, Channel]:
    """All channels, built-in and installed ones.

    Raises:
        ConfigurationError: the allowed networks are wrong, or an installed channel is.
    """
    try:
        networks = parse_networks(settings.delivery_allowed_networks)
    except ValueError as error:
        raise ConfigurationError(f"TOUCHLINE_DELIVERY_ALLOWED_NETWORKS: {error}") from None
    http = GuardedHttp(networks)
    return load_channels([WebhookChannel(http), SlackChannel(http), EmailChannel()])


@dataclass(frozen=True)
class Base:
    """What every process of the notifier has, and the links in mails need: PostgreSQL.

    Attributes:
        live: the plays and endpoints, filled when the files have been read.
    """

    settings: NotifierSettings
    pool: asyncpg.Pool
    health: Health
    metrics: Metrics
    hashes: Hashes
    tokens: UnsubscribeTokens
    mail_tokens: MailTokens
    mail_events: PostgresMailEvents
    mail_event_writer: MailEventWriter
    live: LivePlays


async def migrate(settings: NotifierSettings) -> None:
    """Create or migrate the tables."""
    await database.migrate(settings, package=PACKAGE_OF_MIGRATIONS, schema=settings.schema_name)


@asynccontextmanager
async def base(settings: NotifierSettings, channels: Mapping[str, Channel]) -> AsyncIterator[Base]:
    """PostgreSQL connected, tables created, secrets known."""
    if settings.auto_migrate:
        await migrate(settings)
    async with database.pool(
        settings, application_name="touchline-notifier", size=10, search_path=settings.search_path
    ) as pool:
        try:
            stored = await database.retry_at_startup(
                settings, lambda: pool.fetchval(sql.KEPT_KEY, secrets.token_urlsafe(32))
            )
        except asyncpg.UndefinedTableError:
            raise ConfigurationError(
                "the notifier's tables are missing: run `touchline-notifier migrate`, or set TOUCHLINE_AUTO_MIGRATE"
            ) from None
        configured = settings.unsubscribe_secret.get_secret_value().split(",")
        given = [secret.strip() for secret in configured if secret.strip()]
        health = Health()
        health.add("postgresql", lambda: tables_answer(pool))
        keys = await link_keys(pool, given, stored)
        metrics = Metrics(DECISION_METRICS)
        lost = metrics.counter(MAIL_EVENTS_LOST)
        mail_events = PostgresMailEvents(pool, settings.partitions)
        has_public_url = bool(settings.own_public_url())
        live = LivePlays(PostgresPublishedPlays(pool), channels, has_public_url=has_public_url)
        yield Base(
            settings,
            pool,
            health,
            metrics,
            Hashes(stored),
            UnsubscribeTokens(keys[0], keys),
            MailTokens(keys[0], keys),
            mail_events,
            MailEventWriter(mail_events, lost.inc),
            live,
        )


def unsubscribe_link(tokens: UnsubscribeTokens, root: str) -> UnsubscribeLink:
    """Makes one-click addresses.

    Args:
        root: what :func:`public_url` returns.
    """

    def link(customer_id: str, channel: str) -> str:
        return f"{root}/v1/unsubscribe/{tokens.make(customer_id, channel)}"

    return link


@asynccontextmanager
async def started(
    built: Base, api: Api, observer: MeteredReader, channels: Mapping[str, Channel], port: int, stopping: asyncio.Event
) -> AsyncIterator[Sequence[Component]]:
    """Everything that needs plays, endpoints and Kafka.

    Raises:
        ConfigurationError: plays or endpoints are wrong.
        Unavailable: Kafka is away.
    """
    settings = built.settings
    tracing = tracing_of(settings, "notifier")
    in_force = await _start_plays(built, tracing, deciding=True)
    async with Admin(settings, f"{settings.topic_prefix}-notifier-admin") as admin:
        inputs = await ensure_topics(admin, settings)
        await database.retry_at_startup(settings, lambda: refile(built.pool, settings))
        built.health.add("kafka", lambda: kafka.answers(admin))
        await _await_lifecycles(settings, built.live.files, in_force, stopping)
        check = CheckBeforeSend(LimitsBeforeSend(built.live, inputs.stream))
        queue = PostgresDeliveryQueue(
            built.pool, built.hashes, check, partitions=settings.partitions, sending=settings.sending
        )
        metered = MeteredDeliveries(built.metrics, in_force.endpoints)
        worker = DeliveryWorker(
            queue, channels, in_force.endpoints, metered, stall_seconds=settings.stall_seconds, tracing=tracing
        )
        name = settings.worker(port) if settings.worker_id or settings.http_port else None
        reader = Reader(
            session_opener(settings, built.hashes, inputs, name),
            diagnose,
            built.live,
            observer,
            sending=settings.sending,
            stall_seconds=settings.stall_seconds,
            wake_delivery=worker.wake,
        )
        api.wake_delivery = worker.wake
        built.health.add("reader", reader.check)
        built.health.add("deliveries", worker.check)
        log.info("running", plays=sorted(in_force.plays), endpoints=sorted(in_force.endpoints))
        audiences = AudienceReader(
            PostgresAudiences(
                built.pool, built.hashes, settings.partitions, inputs.stream, inputs.audience_changes_topic_id
            ),
            lambda: KafkaAudienceChanges(settings),
            in_force.endpoints,
            diagnose,
            worker.wake,
        )
        kept_days = settings.deliveries_kept_days, settings.actions_kept_days
        retention = Retention(PostgresFinishedRows(built.pool), built.live.in_force.plays, *kept_days)
        audit_retention = AuditRetention(built.pool, settings.audit_kept_days)
        judge = MailEventJudge(built.mail_events, metered_mail_events(built.metrics))
        yield [reader, worker, retention, audit_retention, judge, audiences, built.live]


async def _start_plays(built: Base, tracing: Tracing | None = None, *, deciding: bool = False) -> PlaysInForce:
    """Read the files, and take up what is published; the plays in force.

    Args:
        deciding: this process decides: it needs a public address where plays write to customers, and records which
            plays change with their files alone.

    Raises:
        ConfigurationError: plays or endpoints are wrong.
        Unavailable: PostgreSQL is away, or a published play cannot run here.
    """
    settings, channels = built.settings, built.live.channels
    files = read_files(settings)
    of_files = parse_files(files, channels)
    to_customers = customer_channels(channels)
    root = public_url(settings, of_files.plays, to_customers) if deciding else ""
    tracker = MailTracker(root, built.mail_tokens) if root else None
    templates = Templates(unsubscribe_link(built.tokens, root), tracker)

    def context(in_force: PlaysInForce, withdrawn: frozenset[str]) -> DecisionContext:
        versions = {name: source.version for name, source in in_force.sources.items()}
        return DecisionContext(
            Decider(in_force.plays, templates, versions),
            in_force.endpoints,
            settings.partitions,
            to_customers,
            tracing,
            withdrawn,
        )

    if deciding:
        await record_files(PostgresPlayStore(built.pool), of_files)
    return await built.live.start(files, of_files, context)


async def _await_lifecycles(
    settings: NotifierSettings, files: ConfiguredFiles, in_force: PlaysInForce, stopping: asyncio.Event
) -> None:
    if in_force.plays:
        faults = await await_lifecycles(
            settings,
            in_force.faults_with,
            known_already=files.known_lifecycles(),
            wait_seconds=settings.lifecycles_wait_seconds,
            stopping=stopping,
        )
        if faults:
            raise cannot_start(map(str, faults))


def _api(built: Base) -> Api:
    settings, in_force = built.settings, built.live.in_force
    to_customers = customer_channels(built.live.channels)
    topics = partial(in_force.topics, to_customers)
    lifecycles = KafkaLifecycles(settings)
    customers = PostgresRecentCustomers(built.pool, built.hashes)
    checker = PlayChecker(built.live, lifecycles.running, customers)
    tester = PlayTester(
        built.live.channels,
        customers,
        PostgresTestLog(built.pool, built.hashes),
        sending=settings.sending,
        public_url=settings.own_public_url(),
        tracker=MailTracker(settings.own_public_url(), built.mail_tokens) if settings.own_public_url() else None,
    )
    store = PostgresSubscriptionStore(built.pool, built.hashes, settings.partitions)
    return Api(
        queries=PostgresQueries(built.pool),
        operations=PostgresOperations(built.pool),
        unsubscribe=UnsubscribeLinks(store, settings.partitions, built.tokens, topics),
        mail_links=TrackedMails(built.mail_tokens, built.mail_events, built.mail_event_writer),
        plays=in_force.plays,
        endpoints=in_force.endpoints,
        sources=in_force.sources,
        publishing=PublishingRoutes(PostgresPlayStore(built.pool), built.live, checker),
        previews=PreviewRoutes(built.live, checker, PreviewSubprocesses()),
        tests=TestingRoutes(built.live, checker, tester, settings.partitions),
        settings=settings,
        insights=PostgresInsights(built.pool, built.hashes, topics),
        sequences=PostgresSequences(built.pool),
        audit=PostgresAuditLog(built.pool),
        suppressions=PostgresSuppressions(built.pool, built.hashes),
        consent=PostgresConsent(built.pool, built.hashes, settings.partitions),
    )


async def run(settings: NotifierSettings) -> Failed | None:
    """The whole notifier in one process: decide, deliver, publish, and answer queries.

    The unsubscribe route answers as soon as PostgreSQL does, even if everything else fails.
    """
    logs.configure("notifier", format=settings.log_format, level=settings.log_level)
    channels = build_channels(settings)
    sock = listen(settings.http_host, settings.http_port)
    port = sock.getsockname()[1]
    async with base(settings, channels) as built:
        api = _api(built)
        observer = MeteredReader(built.metrics)
        built.metrics.gauge(PARTITIONS).set(settings.partitions)
        # From the start: while Kafka is away the outbox fills.
        sampled = SampledMetrics(
            built.pool, settings.partitions, lambda: observer.partitions, built.live.in_force.endpoints
        )
        sampled.install(built.metrics)
        startup = Startup(lambda stopping: started(built, api, observer, channels, port, stopping))
        built.health.add("start", startup.check)
        app = build_api(api, version=VERSION, health=built.health, metrics=built.metrics)
        failed = await run_process(app, sock, [startup, built.mail_event_writer], settings=settings)
        for channel in channels.values():
            await channel.close()
        if failed is not None and isinstance(failed.error, ConfigurationError):
            raise failed.error
        return failed


async def serve(settings: NotifierSettings) -> Failed | None:
    """The API alone."""
    logs.configure("notifier", format=settings.log_format, level=settings.log_level)
    channels = build_channels(settings)
    sock = listen(settings.http_host, settings.http_port)
    async with base(settings, channels) as built:
        api = _api(built)

        @asynccontextmanager
        async def read(stopping: asyncio.Event) -> AsyncIterator[Sequence[Component]]:
            await _start_plays(built)
            yield [built.live]

        startup = Startup(read)
        built.health.add("start", startup.check)
        app = build_api(api, version=VERSION, health=built.health, metrics=built.metrics)
        return await run_process(app, sock, [startup, built.mail_event_writer], settings=settings)
