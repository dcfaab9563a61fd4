"""PostgreSQL wiring: pools and engines with safe settings, and migrations that run once at a time."""

import asyncio
import hashlib
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, NamedTuple, TypeVar, cast
from urllib.parse import urlsplit

import asyncpg
import structlog
from asyncpg.exceptions._base import ClientConfigurationError
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.database.connection import SESSION, connection_class, prepare_connection
from touchline_runtime.database.faults import CONTENT_FAULTS, UNREACHABLE, driver_error, is_transient, remedy
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.process.startup_retry import NAME_SECONDS, StartupRetry

log = structlog.get_logger(__name__)

T = TypeVar("T")

_MIGRATION_SECONDS = 600.0

_RUNS_WITH = "alembic_runs_with"
"""The table with the revisions whose code can work on the tables as they are."""


def dsn(settings: ServiceSettings) -> str:
    """The database's address, for asyncpg."""
    return settings.need("database_url").database_url.get_secret_value()


def schema_of(settings: ServiceSettings, service: str) -> str:
    """The PostgreSQL schema of a service in this deployment: another topic prefix is another deployment, with its own
    tables. The default prefix has the schema with the service's plain name.
    """
    prefix = settings.topic_prefix
    if prefix == type(settings).model_fields["topic_prefix"].default:
        return service
    if len(prefix) > 40:  # PostgreSQL cuts names at 63 bytes
        prefix = prefix[:24] + hashlib.sha256(prefix.encode()).hexdigest()[:16]
    return f"{service}_{prefix}"


async def _wait_until_reachable(settings: ServiceSettings) -> None:
    retry = StartupRetry("PostgreSQL", settings.startup_timeout_seconds)
    while True:
        try:
            connection = await asyncpg.connect(dsn(settings), timeout=5)
        except (asyncpg.InvalidCatalogNameError, asyncpg.InvalidAuthorizationSpecificationError) as error:
            raise ConfigurationError(f"TOUCHLINE_DATABASE_URL: {error}") from None
        except (asyncpg.InvalidPasswordError, ClientConfigurationError, ValueError) as error:
            raise ConfigurationError(f"TOUCHLINE_DATABASE_URL: {error}") from None
        except socket.gaierror as error:
            if not retry.is_younger_than(NAME_SECONDS):
                host = urlsplit(dsn(settings)).hostname
                raise ConfigurationError(
                    f"TOUCHLINE_DATABASE_URL: the host name {host!r} does not resolve ({error.strerror}): correct it"
                ) from None
            await retry.wait(error, f"PostgreSQL can't be found: {error}")
        except UNREACHABLE as error:
            await retry.wait(
                error,
                f"PostgreSQL did not answer within {settings.startup_timeout_seconds:g} s ({error}): is it running "
                "(touchline-devstack status), and is TOUCHLINE_DATABASE_URL right?",
            )
        else:
            await connection.close()
            return


async def retry_at_startup(settings: ServiceSettings, operation: Callable[[], Awaitable[T]]) -> T:
    """Run an operation at start, and try again while the server is away, silent, read-only or full.

    Raises:
        Unavailable: it still fails after ``startup_timeout_seconds``.
    """
    retry = StartupRetry("PostgreSQL", settings.startup_timeout_seconds)
    while True:
        try:
            return await operation()
        except CONTENT_FAULTS:
            raise
        except (*UNREACHABLE, SQLAlchemyError) as error:
            cause = driver_error(error)
            if not is_transient(cause):
                raise
            await retry.wait(cause, f"PostgreSQL can't be used: {cause}{remedy(cause)}")


async def connect(settings: ServiceSettings, *, application_name: str, **server_settings: str) -> asyncpg.Connection:
    """One asyncpg connection with our session settings."""
    connection = await asyncpg.connect(
        dsn(settings),
        timeout=10,
        connection_class=connection_class(settings),
        server_settings={"application_name": application_name} | SESSION | server_settings,
    )
    await prepare_connection(connection)
    return connection


@asynccontextmanager
async def pool(
    settings: ServiceSettings, *, application_name: str, size: int = 10, search_path: str = "public", **arguments: Any
) -> AsyncIterator[asyncpg.Pool]:
    """A pool of asyncpg connections, once the server answers.

    Args:
        search_path: the PostgreSQL schema whose tables the connections see.
        arguments: asyncpg's own; and ``limited=False`` for commands that may take as long as they need.
    """
    await _wait_until_reachable(settings)
    limited = arguments.pop("limited", True)
    created = await asyncpg.create_pool(
        dsn(settings),
        min_size=1,
        max_size=size,
        timeout=10,
        connection_class=connection_class(settings) if limited else asyncpg.Connection,
        init=prepare_connection,
        server_settings={"application_name": application_name, "search_path": search_path} | SESSION,
        **arguments,
    )
    try:
        yield created
    finally:
        try:
            await asyncio.wait_for(created.close(), 5)
        except (TimeoutError, *UNREACHABLE):
            created.terminate()


@asynccontextmanager
async def exclusive_transaction(pool: asyncpg.Pool, lock: str) -> AsyncIterator[asyncpg.Connection]:
    """A transaction beside which no other changes the same things.

    Args:
        lock: the statement that waits for the others, and keeps them waiting.
    """
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(lock)
        yield cast("asyncpg.Connection", connection)  # a pool's proxy of one


@asynccontextmanager
async def sqlalchemy_engine(
    settings: ServiceSettings, *, application_name: str, search_path: str = "public"
) -> AsyncIterator[AsyncEngine]:
    """A SQLAlchemy engine over asyncpg, for reads; ``search_path`` as for :func:`pool`."""
    await _wait_until_reachable(settings)

    async def open_connection(*_: Any, **__: Any) -> asyncpg.Connection:
        # Plans of reads are made for their parameters: a filter that few rows pass needs another plan than one that
        # most rows pass.
        return await connect(
            settings, application_name=application_name, search_path=search_path, plan_cache_mode="force_custom_plan"
        )

    engine = create_async_engine(
        "postgresql+asyncpg://",
        pool_pre_ping=True,
        # Requests wait for each other rather than for the database: a request that gets no connection answers 503.
        pool_timeout=5,
        connect_args={"async_creator_fn": open_connection},
    )
    try:
        yield engine
    finally:
        await engine.dispose()


async def migrate(settings: ServiceSettings, *, package: str, schema: str) -> None:
    """Bring a service's tables to the newest version. Processes that start at the same time take turns.

    A process of an earlier release may start after a later release has migrated. It leaves the tables as they are, and
    runs when the newest migration says (``runs_with``) that its code can work on them.

    Args:
        package: import name of the folder with ``env.py`` and ``versions/`` (Alembic's layout).
        schema: the PostgreSQL schema that is the service's own; made when missing.

    Raises:
        ConfigurationError: the tables are newer, and this release can't work on them.
    """
    await _wait_until_reachable(settings)
    await retry_at_startup(settings, lambda: _migrate(settings, package, schema))


async def _migrate(settings: ServiceSettings, package: str, schema: str) -> None:
    revisions = _revisions(package)
    connection = await asyncpg.connect(dsn(settings), timeout=10)
    try:
        if await _is_migrated(connection, schema, revisions):
            return
    finally:
        await connection.close()
    engine = create_async_engine(dsn(settings).replace("postgresql://", "postgresql+asyncpg://", 1))
    try:
        async with asyncio.timeout(_MIGRATION_SECONDS), engine.begin() as transaction:
            await transaction.execute(
                text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": schema}
            )
            # Another process may have migrated, to a later version even, since the first look.
            driver = (await transaction.get_raw_connection()).driver_connection
            if driver is None or await _is_migrated(driver, schema, revisions):
                return
            await transaction.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
            await transaction.run_sync(_upgrade, package, schema)
    finally:
        await engine.dispose()
    log.info("migrated", schema=schema)


class _Revisions(NamedTuple):
    """A package's migrations: all revisions, and the newest."""

    known: frozenset[str]
    head: str


def _revisions(package: str) -> _Revisions:
    """Read the revisions from the files: a restart that finds nothing to migrate needn't wait for Alembic to load."""
    written = [path.read_text() for path in (files(package) / "versions").iterdir() if path.name.endswith(".py")]
    known = {match[1] for text in written for match in re.finditer(r'^revision = "(.+)"$', text, re.MULTILINE)}
    replaced = {match[1] for text in written for match in re.finditer(r'^down_revision = "(.+)"$', text, re.MULTILINE)}
    (head,) = known - replaced
    return _Revisions(frozenset(known), head)


async def _is_migrated(connection: asyncpg.Connection, schema: str, revisions: _Revisions) -> bool:
    """Whether there is nothing to migrate: the tables are at the newest version this release knows, or at a later one
    on which it can run.

    Raises:
        ConfigurationError: they are at a later one on which it can't.
    """
    # A query that fails would end the transaction it may be in, so ask what there is first.
    if await connection.fetchval("SELECT to_regclass($1)", f'"{schema}".alembic_version') is None:
        return False
    found = await connection.fetchval(f'SELECT version_num FROM "{schema}".alembic_version')  # noqa: S608
    if found is None or found in revisions.known:
        return bool(found == revisions.head)
    serves = await connection.fetchval("SELECT to_regclass($1)", f'"{schema}".{_RUNS_WITH}') is not None and (
        await connection.fetchval(
            f'SELECT EXISTS (SELECT FROM "{schema}".{_RUNS_WITH} WHERE revision = $1)',  # noqa: S608
            revisions.head,
        )
    )
    if not serves:
        raise ConfigurationError(
            f"the tables in schema {schema} are at version {found}, of a later release than this one ({revisions.head})"
            ", which can't work on them: start the later release, or restore a backup from before its migration"
        )
    log.info("newer_tables", schema=schema, found=found, known=revisions.head)
    return True


def _upgrade(connection: Connection, package: str, schema: str) -> None:
    # Loaded here, because a start that finds nothing to migrate has no use for it.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(files(package)))
    config.set_main_option("path_separator", "os")
    config.attributes.update(connection=connection, schema=schema)
    command.upgrade(config, "head")
    script = ScriptDirectory.from_config(config)
    head = script.get_revision(script.get_current_head() or "")
    runs_with = {head.revision, *getattr(head.module, "runs_with", ())}
    connection.execute(text(f'CREATE TABLE IF NOT EXISTS "{schema}".{_RUNS_WITH} (revision text PRIMARY KEY)'))
    connection.execute(text(f'DELETE FROM "{schema}".{_RUNS_WITH}'))  # noqa: S608
    connection.execute(
        text(f'INSERT INTO "{schema}".{_RUNS_WITH} (revision) VALUES (:revision)'),  # noqa: S608
        [{"revision": revision} for revision in sorted(runs_with)],
    )


def run_migrations() -> None:
    """What a service's Alembic ``env.py`` calls: it runs on the connection that :func:`migrate` opened."""
    from alembic import context

    schema = context.config.attributes["schema"]
    connection = context.config.attributes["connection"]
    connection.execute(text(f'SET LOCAL search_path TO "{schema}"'))
    context.configure(connection=connection, version_table_schema=schema, transactional_ddl=True)
    context.run_migrations()
