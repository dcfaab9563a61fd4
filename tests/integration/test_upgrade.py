"""An upgrade under load, from the tables of the first migration.

While the tables change, touchpoints arrive without a pause. Each counts once, and the stages are what they say.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.resources import files
from itertools import count
from pathlib import Path

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from touchline_devstack.stack import Stack

from tests.support.monitoring import Watched, watched
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stack]

PACKAGES = {
    "stage_engine": "touchline_stage_engine.migrations",
    "notifier": "touchline_notifier.migrations",
}


@pytest.fixture
def system(stack: Stack, database_url: str, topic_prefix: str, tmp_path: Path) -> Iterator[Watched]:
    """Ingest, engine and notifier."""
    services = ("ingest", "stage-engine", "notifier")
    with watched(stack.kafka_bootstrap, database_url, topic_prefix, tmp_path, services=services) as system:
        yield system


class Load:
    """Customers who come one after the other, until the end of the block."""

    def __init__(self, system: Watched) -> None:
        self._system = system
        self._numbers = count()
        self.customers: list[str] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        """Post in the background."""
        stopping = asyncio.Event()
        posting = asyncio.create_task(self._post(stopping))
        try:
            yield self
        finally:
            stopping.set()
            await posting

    async def _post(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            await asyncio.to_thread(self._post_one)

    def _post_one(self) -> None:
        name = f"c-{next(self._numbers)}"
        self._system.accepted(self._system.someone(name, spilt=True))
        self.customers.append(name)

    async def more(self, number: int = 5) -> None:
        """Wait until so many more customers have come."""
        before = len(self.customers)
        await wait_until(lambda: len(self.customers) >= before + number, "more customers come")

    async def all_folded(self) -> None:
        """Wait until every customer is where their touchpoints say, with each of them counted once."""

        def missing() -> list[str]:
            return [name for name in self.customers if not self._is_right(name)]

        await wait_until(lambda: not missing(), "everything is folded once", 90, interval=0.5, seen=missing)

    async def all_acted(self) -> None:
        """Wait until the play that is about going back has sent its one action for every customer."""

        def sent() -> list[str]:
            # What was sent and not recorded before a process was killed is sent again, under the same id.
            arrived = [one for one in self._system.receiver.arrived if not one.duplicate]
            bodies = [one.json["data"].get("body", "") for one in arrived]
            return sorted(body.split()[2].rstrip(",") for body in bodies if body.startswith("Mop"))

        def missing() -> set[str]:
            return set(self.customers) - set(sent())

        await wait_until(lambda: not missing(), "every action is sent", 90, interval=0.5, seen=missing)
        assert len(sent()) == len(set(sent())), "no action is sent twice"

    def _is_right(self, name: str) -> bool:
        found = self._system.customer(name)
        return (
            found is not None
            and found["stages"]["kiosk"]["stage"] == "inside"
            and self._system.posted_touchpoints(name) == 3
        )


async def versions(database_url: str, prefix: str) -> set[str]:
    """The versions of both services' tables."""
    connection = await asyncpg.connect(database_url)
    try:
        return {
            await connection.fetchval(f'SELECT version_num FROM "{name}_{prefix}".alembic_version') for name in PACKAGES
        }
    finally:
        await connection.close()


async def downgrade(database_url: str, prefix: str, revision: str) -> None:
    """Bring the tables of both services back to a migration."""
    engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://", 1))

    def run(connection: Connection, package: str, schema: str) -> None:
        config = Config()
        config.set_main_option("script_location", str(files(package)))
        config.set_main_option("path_separator", "os")
        config.attributes.update(connection=connection, schema=schema)
        command.downgrade(config, revision)

    try:
        for name, package in PACKAGES.items():
            async with engine.begin() as transaction:
                await transaction.run_sync(run, package, f"{name}_{prefix}")
    finally:
        await engine.dispose()


async def test_tables_of_the_first_migration_are_brought_up_to_date_under_load(
    system: Watched, database_url: str
) -> None:
    load = Load(system)
    async with load.running():
        await load.more()
    await load.all_folded()
    for name in ("stage-engine", "notifier"):
        await asyncio.to_thread(system.services[name].terminate)
    await downgrade(database_url, system.prefix, "0001")
    assert await versions(database_url, system.prefix) == {"0001"}
    async with load.running():
        await load.more()
        await asyncio.to_thread(system.start_all)
        await load.more()
    assert "0001" not in await versions(database_url, system.prefix)
    await load.all_folded()
    await load.all_acted()
