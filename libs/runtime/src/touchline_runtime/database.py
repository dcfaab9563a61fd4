"""PostgreSQL wiring: pools and engines with safe settings, and migrations that run once at a time."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

import asyncpg
import structlog
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from touchline_runtime.errors import ConfigurationError, Unavailable
from touchline_runtime.patience import Patience
from touchline_runtime.settings import ServiceSettings

log = structlog.get_logger(__name__)

# A process that stops in the middle of a transaction must not hold its locks for ever.
_SESSION = {"idle_in_transaction_session_timeout": "15000", "timezone": "UTC"}

UNREACHABLE = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that broke in the middle of an operation, asked for the next
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    TimeoutError,
)
"""What asyncpg raises when the server is away or going away: worth trying again."""


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


async def _until_it_answers(settings: ServiceSettings) -> None:
    patience = Patience("PostgreSQL", settings.startup_timeout_seconds)
    while True:
        try:
            connection = await asyncpg.connect(dsn(settings), timeout=5)
        except (asyncpg.InvalidCatalogNameError, asyncpg.InvalidAuthorizationSpecificationError) as error:
            raise ConfigurationError(f"TOUCHLINE_DATABASE_URL: {error}") from None
        except (asyncpg.InvalidPasswordError, ValueError) as error:
            raise ConfigurationError(f"TOUCHLINE_DATABASE_URL: {error}") from None
        except UNREACHABLE as error:
            await patience.wait(
                error,
                f"PostgreSQL did not answer within {settings.startup_timeout_seconds:g} s ({error}): is it running "
                "(touchline-devstack status), and is TOUCHLINE_DATABASE_URL right?",
            )
        else:
            await connection.close()
            return


async def connect(settings: ServiceSettings, *, application_name: str, **server_settings: str) -> asyncpg.Connection:
    """One asyncpg connection with our session settings."""
    return await asyncpg.connect(
        dsn(settings),
        timeout=10,
        server_settings={"application_name": application_name} | _SESSION | server_settings,
    )


@asynccontextmanager
async def pool(
    settings: ServiceSettings, *, application_name: str, size: int = 10, search_path: str = "public", **arguments: Any
) -> AsyncIterator[asyncpg.Pool]:
    """A pool of asyncpg connections, once the server answers.

    Args:
        search_path: the PostgreSQL schema whose tables the connections see.
    """
    await _until_it_answers(settings)
    created = await asyncpg.create_pool(
        dsn(settings),
        min_size=1,
        max_size=size,
        timeout=10,
        command_timeout=arguments.pop("command_timeout", 60),
        server_settings={"application_name": application_name, "search_path": search_path} | _SESSION,
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
async def sqlalchemy_engine(
    settings: ServiceSettings, *, application_name: str, search_path: str = "public"
) -> AsyncIterator[AsyncEngine]:
    """A SQLAlchemy engine over asyncpg, for reads; ``search_path`` as for :func:`pool`."""
    await _until_it_answers(settings)
    engine = create_async_engine(
        dsn(settings).replace("postgresql://", "postgresql+asyncpg://", 1),
        pool_pre_ping=True,
        connect_args={"server_settings": {"application_name": application_name, "search_path": search_path} | _SESSION},
    )
    try:
        yield engine
    finally:
        await engine.dispose()


async def answers(connections: asyncpg.Pool) -> None:
    """A health check: the server answers a query."""
    try:
        await connections.fetchval("SELECT 1", timeout=2)
    except UNREACHABLE as error:
        raise Unavailable(f"PostgreSQL does not answer: {error}") from None


async def migrate(settings: ServiceSettings, *, package: str, schema: str) -> None:
    """Bring a service's tables to the newest version, once at a time, whoever else starts.

    Args:
        package: import name of the folder with ``env.py`` and ``versions/`` (Alembic's layout).
        schema: the PostgreSQL schema that is the service's own; made when missing.
    """
    await _until_it_answers(settings)
    if await _is_at_head(settings, package, schema):
        return
    engine = create_async_engine(dsn(settings).replace("postgresql://", "postgresql+asyncpg://", 1))
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": schema})
            await connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
            await connection.run_sync(_upgrade, package, schema)
    finally:
        await engine.dispose()
    log.info("migrated", schema=schema)


async def _is_at_head(settings: ServiceSettings, package: str, schema: str) -> bool:
    """Whether there is nothing to migrate. A restart needn't wait for Alembic to be loaded to find that out."""
    written = [path.read_text() for path in (files(package) / "versions").iterdir() if path.name.endswith(".py")]
    revisions = {match[1] for text in written for match in re.finditer(r'^revision = "(.+)"$', text, re.MULTILINE)}
    replaced = {match[1] for text in written for match in re.finditer(r'^down_revision = "(.+)"$', text, re.MULTILINE)}
    connection = await asyncpg.connect(dsn(settings), timeout=10)
    try:
        found = await connection.fetchval(f'SELECT version_num FROM "{schema}".alembic_version')  # noqa: S608
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        return False
    finally:
        await connection.close()
    return {found} == revisions - replaced


def _upgrade(connection: Connection, package: str, schema: str) -> None:
    # Loaded here, because a start that finds nothing to migrate has no use for it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(files(package)))
    config.set_main_option("path_separator", "os")
    config.attributes.update(connection=connection, schema=schema)
    command.upgrade(config, "head")


def run_migrations() -> None:
    """What a service's Alembic ``env.py`` calls: it runs on the connection that :func:`migrate` opened."""
    from alembic import context

    schema = context.config.attributes["schema"]
    connection = context.config.attributes["connection"]
    connection.execute(text(f'SET LOCAL search_path TO "{schema}"'))
    context.configure(connection=connection, version_table_schema=schema, transactional_ddl=True)
    context.run_migrations()
