"""Puts together what the command lines need that start, do one thing and end."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
from touchline_runtime.audit.command_line import command_line_actor
from touchline_runtime.database import pools as database
from touchline_runtime.publishing.publication import Publication
from touchline_runtime.yaml.positions import FaultyDocumentError

from touchline_notifier.adapters.files.play_files import (
    read_endpoints,
    read_files,
    read_play,
    shipped,
    texts_of,
    with_templates,
)
from touchline_notifier.adapters.kafka.lifecycles import KafkaLifecycles
from touchline_notifier.adapters.kafka.recorded_facts import recorded_facts, sample_from_topic
from touchline_notifier.adapters.postgres import decision_statements as sql
from touchline_notifier.adapters.postgres.operations import PostgresOperations
from touchline_notifier.adapters.postgres.plays.published import PostgresPlayStore
from touchline_notifier.adapters.postgres.reads.queries import PostgresQueries
from touchline_notifier.adapters.postgres.transaction import PostgresTransaction
from touchline_notifier.application import operate
from touchline_notifier.application.api_ports import Replay, Sending
from touchline_notifier.application.deciding.decide import DecisionContext
from touchline_notifier.application.plays import publishing
from touchline_notifier.application.plays.checking import PlayChecker
from touchline_notifier.application.plays.live import LivePlays, UnusablePlayError
from touchline_notifier.application.plays.previewing import MOST_FACTS, PreviewOrder, report
from touchline_notifier.application.plays.publishing import Draft
from touchline_notifier.application.plays_in_force import (
    Checked,
    PlaysInForce,
    check_plays,
    customer_channels,
    parse_files,
)
from touchline_notifier.application.ports import Transaction
from touchline_notifier.application.preview import decide_recorded, load_recorded, preview_recorded
from touchline_notifier.bootstrap import build_channels, migrate
from touchline_notifier.core.decisions.decide import Decider
from touchline_notifier.core.plays.parse import KnownLifecycle
from touchline_notifier.core.plays.preview import Previewed, Wanted, as_if_live
from touchline_notifier.core.plays.rendering import Templates
from touchline_notifier.core.profiles.address_hashes import Hashes
from touchline_notifier.settings import NotifierSettings

__all__ = ["read_play", "shipped"]


@asynccontextmanager
async def operating(settings: NotifierSettings) -> AsyncIterator[tuple[PostgresOperations, PostgresQueries]]:
    """For one command of an operator."""
    name = "touchline-notifier-operator"
    async with database.pool(settings, application_name=name, size=1, search_path=settings.search_path) as pool:
        yield PostgresOperations(pool), PostgresQueries(pool)


async def replay(settings: NotifierSettings, deliveries: Sequence[UUID]) -> dict[UUID, str | None]:
    """Try deliveries again from the start; each one's status then, None where there is no such delivery."""
    actor = command_line_actor()
    async with operating(settings) as (operations, _):
        return {delivery: await operations.replay(delivery, datetime.now(UTC), actor) for delivery in deliveries}


async def replay_all(settings: NotifierSettings, wanted: Replay, *, dry_run: bool) -> tuple[list[dict[str, Any]], str]:
    """Try an endpoint's deliveries again; see :func:`operate.replay_all`."""
    configured = read_endpoints(settings.endpoints_file)
    async with operating(settings) as (operations, queries):
        return await operate.replay_all(operations, queries, configured, wanted, command_line_actor(), dry_run=dry_run)


async def endpoints(settings: NotifierSettings) -> list[dict[str, Any]]:
    """Endpoints with their states."""
    configured = read_endpoints(settings.endpoints_file)
    async with operating(settings) as (_, queries):
        return await queries.endpoints(configured)


async def enable(settings: NotifierSettings, names: Sequence[str]) -> None:
    """Send to endpoints again; see :func:`operate.enable`."""
    configured = read_endpoints(settings.endpoints_file)
    async with operating(settings) as (operations, queries):
        await operate.enable(operations, queries, configured, names, command_line_actor())


async def switch(settings: NotifierSettings, *, sending: bool, reason: str | None) -> None:
    """Turn the global switch that is kept in the database."""
    async with operating(settings) as (operations, _):
        await operations.switch(Sending(sending, reason), command_line_actor())


async def previewed(settings: NotifierSettings, wanted: Wanted) -> list[Previewed]:
    """Everything the plays would do with recorded facts. Nothing is sent.

    Raises:
        ConfigurationError: plays, facts or settings are wrong.
    """
    channels = build_channels(settings)
    in_force = parse_files(read_files(settings), channels, to_run=False)
    found = await recorded_facts(settings, wanted, datetime.now(UTC))
    if wanted.ignore_backfill:
        found = as_if_live(found)
    decider = Decider(in_force.plays, Templates())
    context = DecisionContext(decider, in_force.endpoints, settings.partitions, customer_channels(channels))
    async with _recorded(settings) as tx:
        return await preview_recorded(tx, context, found)


async def previewed_play(settings: NotifierSettings, order: PreviewOrder) -> dict[str, Any]:
    """What one play would do with the facts of the last days; see :func:`previewing.report`."""
    now = datetime.now(UTC)
    start = now - timedelta(days=order.days)
    sample = await sample_from_topic(settings, start, now, order.customer, MOST_FACTS)
    if order.ignore_backfill:
        sample = sample._replace(facts=as_if_live(sample.facts))
    decider = Decider(order.plays(), Templates())
    context = DecisionContext(decider, {}, settings.partitions, customer_channels(build_channels(settings)))
    async with _recorded(settings) as tx:
        facts, histories = await load_recorded(tx, context, sample.facts)
    # Without the transaction, which would hold up vacuum.
    return report(order, sample._replace(facts=facts), decide_recorded(context, facts, histories))


@asynccontextmanager
async def _recorded(settings: NotifierSettings) -> AsyncIterator[Transaction | None]:
    """A transaction to read customers and their actions in; None where no notifier has run."""
    async with AsyncExitStack() as stack:
        tx = None
        if settings.database_url.get_secret_value():
            name = "touchline-notifier-preview"
            opened = database.pool(settings, application_name=name, size=1, search_path=settings.search_path)
            pool = await stack.enter_async_context(opened)
            try:
                key = str(await pool.fetchval(sql.KNOWN_KEY))
            except asyncpg.UndefinedTableError:
                pass  # nothing is known of any customer
            else:
                connection = await stack.enter_async_context(pool.acquire())
                await stack.enter_async_context(connection.transaction())
                tx = PostgresTransaction(connection, Hashes(key), settings.partitions)
        yield tx


def check(settings: NotifierSettings, folder: Path) -> Checked:
    """Check the plays of a folder, or of one file, as far as that is possible without an engine."""
    files = read_files(settings.model_copy(update={"plays_dir": None, "plays": ""}))
    bundles = with_templates(texts_of(folder, "DIR"))
    plays = [(path, one.text) for path, one in bundles.items()]
    return check_plays(replace(files, plays=plays, bundles=bundles), build_channels(settings))


@asynccontextmanager
async def _publishing(settings: NotifierSettings) -> AsyncIterator[tuple[PostgresPlayStore, LivePlays]]:
    """The plays in force, of the database and of the files that the settings name."""
    settings.need("database_url")
    if settings.auto_migrate:
        await migrate(settings)
    channels = build_channels(settings)
    files = read_files(settings)
    name = "touchline-notifier-publish"
    async with database.pool(settings, application_name=name, size=1, search_path=settings.search_path) as pool:
        store = PostgresPlayStore(pool)
        live = LivePlays(store.published, channels, has_public_url=bool(settings.own_public_url()))

        def context(in_force: PlaysInForce, withdrawn: frozenset[str]) -> DecisionContext:
            decider = Decider(in_force.plays, Templates())
            return DecisionContext(decider, in_force.endpoints, settings.partitions, customer_channels(channels))

        # A published play that cannot run here must not keep its successor from being published.
        with suppress(UnusablePlayError):
            await live.start(files, parse_files(files, channels), context)
        yield store, live


async def publish(
    settings: NotifierSettings, text: str, comment: str, base: int | None, *, replace_any: bool
) -> tuple[str, Publication]:
    """Publish a play; its name, and the version in force.

    Args:
        replace_any: the draft replaces whatever version is in force.

    Raises:
        FaultyDocumentError: it is wrong.
        PublicationRefusedError: another version is in force than the draft's base, or it is managed by a file.
    """
    async with _publishing(settings) as (store, live):

        async def lifecycles() -> list[KnownLifecycle]:
            return await KafkaLifecycles(settings).running() if settings.kafka_bootstrap_servers else []

        checked = await PlayChecker(live, lifecycles, None).check(text)
        if checked.play is None:
            raise FaultyDocumentError(checked.faults)
        play = checked.play.play
        if replace_any:
            base = {one.play: one.version for one in await store.published.all()}.get(play) or 0
        draft = Draft(play, text, comment, base)
        in_files = live.in_force.in_files
        return play, await publishing.publish(store, draft, command_line_actor(), datetime.now(UTC), in_files)


async def play_in_force(settings: NotifierSettings, play: str) -> tuple[int, str] | None:
    """Number (0: of a file, or shipped) and text of a play in force; None: it does not run."""
    async with _publishing(settings) as (store, live):
        for one in await store.published.all():
            if one.play == play and one.version is not None and play not in live.in_force.in_files:
                return one.version, one.definition
        source = live.in_force.sources.get(play)
        return None if source is None else (source.version, source.text)
