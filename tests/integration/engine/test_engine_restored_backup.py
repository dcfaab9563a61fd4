"""Kind: the database is restored from an older backup while the topics are further. An id of a fact names one fact."""

import random
import signal
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from touchline_devstack.receivers import WebhookReceiver
from touchline_devstack.stack import Stack

from tests.support.engine.expected import assert_sound, random_touchpoints, utc_now
from tests.support.engine.identity import agree
from tests.support.engine.world import PARTITIONS, Process, World, touchpoint
from tests.support.notifier import world as notifier_world
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

PLAY = """
play: welcome
when: {fact: stage-changed, lifecycle: trial, move: [enter, advance, regress]}
corrections: true
action: {channel: webhook, endpoint: crm, body: "{{ customer_id }}"}
limits: {max_age: 400d}
"""


class Backups:
    """Copies of one database, made and restored by CREATE DATABASE … TEMPLATE while no engine is connected."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._name = address.path[1:]
        self._copy = f"{self._name[:50]}_backup"
        self._server = address._replace(path="/postgres").geturl()

    async def _copy_database(self, source: str, target: str) -> None:
        connection = await asyncpg.connect(self._server)
        try:
            await connection.execute(f'DROP DATABASE IF EXISTS "{target}" WITH (FORCE)')
            await connection.fetch("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", source)
            await connection.execute(f'CREATE DATABASE "{target}" TEMPLATE "{source}"')
        finally:
            await connection.close()

    async def make(self) -> None:
        await self._copy_database(self._name, self._copy)

    async def restore(self) -> None:
        await self._copy_database(self._copy, self._name)

    async def drop(self) -> None:
        connection = await asyncpg.connect(self._server)
        try:
            await connection.execute(f'DROP DATABASE IF EXISTS "{self._copy}" WITH (FORCE)')
        finally:
            await connection.close()


@pytest.fixture
async def backups(database_url: str) -> AsyncIterator[Backups]:
    backups = Backups(database_url)
    yield backups
    await backups.drop()


@asynccontextmanager
async def engine_of(world: World) -> AsyncIterator[Process]:
    """An engine that is ended cleanly, with everything published."""
    engine = await world.running()
    yield engine
    engine.signal(signal.SIGTERM)
    await engine.ended()


def content(fact: dict[str, Any]) -> str:
    """What a fact says, without when it was decided and under which id."""
    return repr(sorted((name, value) for name, value in fact.items() if name not in ("decided_at", "ce_id")))


def assert_ids_name_one_fact(facts: list[dict[str, Any]]) -> None:
    contents = defaultdict(set)
    for fact in facts:
        contents[fact["ce_id"]].add(content(fact))
    assert not {ce_id: found for ce_id, found in contents.items() if len(found) > 1}


async def eras(world: World) -> list[int]:
    return [row["era"] for row in await world.sql("SELECT era FROM partitions ORDER BY partition")]


@pytest.mark.parametrize("seed", [1, 2])
async def test_ids_of_facts_differ_wherever_facts_differ_after_the_same_backup_was_restored_twice(
    world: World, backups: Backups, seed: int
) -> None:
    draw = random.Random(seed)
    posted = random_touchpoints(draw, [{"customer_id": f"c{number}"} for number in range(12)], 25, utc_now())
    before, late, later = posted[:120], posted[120:220], posted[220:]
    async with engine_of(world):
        await world.post(before)
        await world.folded(len(before))
    await backups.make()
    async with engine_of(world):
        # One batch each: every late touchpoint gives a correction of its own.
        for number, one in enumerate(late):
            await world.post([one])
            if number % 10 == 0:
                await world.folded(len(before) + number + 1)
        await world.folded(len(before) + len(late))
    first_eras = await eras(world)
    first = await world.facts()
    assert len(first) > 50
    assert_sound(first)
    for turn in (1, 2):
        await backups.restore()
        more = later[(turn - 1) * len(later) // 2 : turn * len(later) // 2]
        await world.post(more)
        async with engine_of(world):
            # Records after the backup are folded again, in other batches and together with newer records.
            await agree(world, posted[: 220 + turn * len(later) // 2])
            found = await eras(world)
            assert all(era == turn for era, was in zip(found, first_eras, strict=True)), (found, first_eras)
        facts = await world.facts()
        assert_ids_name_one_fact(facts)
        new = [fact for fact in facts if fact.get("era", 0) == turn]
        assert new, "the facts of after the restore carry the era"
        assert {fact["ce_id"] for fact in first}.isdisjoint(fact["ce_id"] for fact in new)


async def test_the_notifier_acts_on_the_facts_of_after_a_restore(
    stack: Stack, world: World, backups: Backups, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = stack.create_database(f"{urlsplit(world.database_url).path[1:][:40]}_notifier")
    monkeypatch.setattr(notifier_world, "PARTITIONS", PARTITIONS)
    at = utc_now() - timedelta(days=5)
    try:
        async with engine_of(world):
            await world.post([touchpoint("a", at, customer_id="ada")])
            await world.folded(1)
        await backups.make()
        async with engine_of(world):
            await world.post([touchpoint(f"v{n}", at + timedelta(hours=n), customer_id="ada") for n in (1, 2)])
            await world.folded(3)
        folder = tmp_path / "notifier"
        with WebhookReceiver([notifier_world.SECRET]) as receiver:
            async with notifier_world.World.open(world.bootstrap, database, world.prefix, folder) as company:
                company.crm(receiver)
                company.play(PLAY)
                await company.start().ready()

                async def acted_on(facts: set[str]) -> bool:
                    # Sent, or not sent any more because the customer has moved on since the decision.
                    return facts <= {action["fact_id"] for action in await company.actions("sent", "cancelled")}

                before = {fact["ce_id"] for fact in await world.facts()}
                await wait_until(lambda: acted_on(before), "the notifier acts on the first facts")
                await backups.restore()
                async with engine_of(world):
                    # A late one: with it, what happened second is another fact.
                    await world.post([touchpoint("b", at + timedelta(minutes=1), customer_id="ada")])
                    await world.folded(4)

                    async def published() -> set[str]:
                        return {fact["ce_id"] for fact in await world.facts()} - before

                    new = await wait_until(published, "facts are published after the restore")
                    await wait_until(lambda: acted_on(new), "the notifier acts on the new facts")
    finally:
        stack.drop_database(database)
