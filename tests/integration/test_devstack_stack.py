"""The embedded stack: kept data, recovery after kill -9, ports, locks, two side by side. Real servers throughout."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import UnknownTopicOrPartitionError
from aiokafka.structs import TopicPartition
from touchline_devstack.embedded.ports import is_free
from touchline_devstack.embedded.state import StackState
from touchline_devstack.errors import UnreachableError
from touchline_devstack.probes import kafka_trouble, postgres_trouble, query
from touchline_devstack.processes import command
from touchline_devstack.settings import DevstackSettings
from touchline_devstack.stack import Stack

pytestmark = pytest.mark.stack


def embedded(folder: Path) -> Stack:
    """A stack of its own, embedded whatever the environment and Docker say."""
    settings = DevstackSettings.from_environment()
    return Stack(
        replace(settings, folder=folder, kafka_bootstrap_servers=None, database_url=None), engine_answers=lambda: False
    )


def pids(stack: Stack) -> tuple[int | None, ...]:
    return tuple(one.pid for one in stack.status())


@pytest.fixture(scope="module")
def own(stack_folder: Path) -> Iterator[Stack]:
    """An embedded stack for the tests that stop and kill servers, apart from the one that other tests use."""
    stack = embedded(stack_folder / "own")
    stack.up()
    yield stack
    stack.down()
    stack.remove()


async def write(stack: Stack, topic: str, value: bytes) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka_bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 2, 1)])
    finally:
        await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=stack.kafka_bootstrap, enable_idempotence=True) as producer:
        await producer.send_and_wait(topic, value, partition=0)
    connection = await asyncpg.connect(stack.database_url)
    try:
        await connection.execute(f'CREATE TABLE "{topic}" (value bytea)')
        await connection.execute(f'INSERT INTO "{topic}" VALUES ($1)', value)
    finally:
        await connection.close()


async def read(stack: Stack, topic: str) -> tuple[list[bytes], list[bytes]]:
    """What the topic and the table have."""
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.kafka_bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        records = [record.value async for record in _until_end(consumer, TopicPartition(topic, 0))]
    finally:
        await consumer.stop()
    connection = await asyncpg.connect(stack.database_url)
    try:
        return records, [row["value"] for row in await connection.fetch(f'SELECT value FROM "{topic}"')]
    finally:
        await connection.close()


async def _until_end(consumer: AIOKafkaConsumer, partition: TopicPartition) -> AsyncIterator[Any]:
    end = (await consumer.end_offsets([partition]))[partition]
    while await consumer.position(partition) < end:
        yield await asyncio.wait_for(consumer.getone(partition), 120)


def test_a_test_gets_a_broker_and_an_empty_database_of_its_own(stack: Stack, database_url: str) -> None:
    assert kafka_trouble(stack.kafka_bootstrap) is None
    assert postgres_trouble(database_url) is None
    assert query(database_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    assert query(database_url, "SHOW server_version_num").startswith("18")


async def test_up_again_starts_nothing_even_when_called_from_a_coroutine(own: Stack) -> None:
    before = pids(own)
    assert own.up() is False
    assert pids(own) == before


async def test_down_and_up_keep_the_data_and_the_ports(own: Stack, topic_prefix: str) -> None:
    await write(own, topic_prefix, b"before")
    addresses = own.env()
    running = pids(own)
    assert own.down() is True
    assert not any(psutil.pid_exists(pid) and _runs(pid) for pid in running if pid)
    assert own.down() is False
    assert own.up() is True
    assert own.env() == addresses
    assert await read(own, topic_prefix) == ([b"before"], [b"before"])


async def test_after_kill_9_of_both_up_brings_them_back_with_what_was_acknowledged(
    own: Stack, topic_prefix: str
) -> None:
    await write(own, topic_prefix, b"acknowledged")
    own.kill_kafka()
    own.kill_postgres()
    assert all(one.trouble is not None for one in own.status())
    assert own.up() is True
    assert await read(own, topic_prefix) == ([b"acknowledged"], [b"acknowledged"])


def test_a_postmaster_killed_alone_under_load_is_brought_back(own: Stack) -> None:
    """Its backends outlive it for a moment, with the shared memory in hand; and the pid file stays."""
    url = own.database_url
    busy = subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, ''); {SLEEPER}", url], stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 120
        while query(url, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'") == 0:
            assert time.monotonic() < deadline
        state = StackState.load(own.settings.folder / "stack.json")
        assert state.postgres.process is not None
        os.kill(state.postgres.process.pid, signal.SIGKILL)
        assert state.postgres.process.wait_gone(60)
        assert own.up() is True
        assert query(own.database_url, "SELECT 1") == 1
    finally:
        busy.kill()
        busy.wait()


SLEEPER = "import asyncio, asyncpg\nasync def go():\n c = await asyncpg.connect(sys.argv[1])\n await c.fetch('SELECT pg_sleep(600)')\nasyncio.run(go())"  # noqa: E501


def test_a_server_whose_pid_nobody_recorded_is_found_and_not_started_twice(own: Stack) -> None:
    """As when the starter is killed between starting a server and writing it down."""
    before = pids(own)
    path = own.settings.folder / "stack.json"
    state = StackState.load(path)
    state.kafka.process = state.postgres.process = None
    state.save(path)
    assert own.up() is False
    assert pids(own) == before


def test_a_port_taken_by_somebody_else_is_left_to_them(own: Stack) -> None:
    before = StackState.load(own.settings.folder / "stack.json").postgres.port
    assert before is not None
    own.stop_postgres()
    assert is_free(before)
    with socket.create_server(("127.0.0.1", before)):
        assert own.start_postgres() is True
        assert StackState.load(own.settings.folder / "stack.json").postgres.port != before
        assert query(own.database_url, "SELECT 1") == 1


def test_two_at_once_on_one_folder_start_one_stack_and_another_folder_has_its_own(
    own: Stack, stack_folder: Path, tmp_path: Path
) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOUCHLINE_")}
    environment["TOUCHLINE_DEVSTACK_DIR"] = str(stack_folder / "other")
    environment["DOCKER_HOST"] = f"unix://{tmp_path}/no-engine.sock"
    devstack = command("touchline-devstack")
    racers = [
        subprocess.Popen([devstack, "up"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        published = [racer.communicate(timeout=400) for racer in racers]
        assert [racer.returncode for racer in racers] == [0, 0], published
        assert sorted("already up" in errors for _, errors in published) == [False, True]
        assert "@" not in published[0][0]  # addresses without passwords

        printed = subprocess.run([devstack, "env"], env=environment, capture_output=True, text=True, check=True).stdout
        other = dict(line.split("=", 1) for line in printed.splitlines())
        assert set(other) == {"TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS", "TOUCHLINE_DATABASE_URL"}
        assert kafka_trouble(other["TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS"]) is None
        assert postgres_trouble(other["TOUCHLINE_DATABASE_URL"]) is None
        assert not set(other.values()) & set(own.env().values())

        # In a shell that took the printed variables over, the folder's servers are still its own.
        status = subprocess.run([devstack, "status"], env=environment | other, capture_output=True, text=True)
        assert status.returncode == 0
        assert status.stdout.count("embedded") == 2
    finally:
        down = subprocess.run([devstack, "down"], env=environment, capture_output=True, text=True)
    assert (down.returncode, down.stderr.strip()) == (0, "stopped")
    assert subprocess.run([devstack, "status"], env=environment, capture_output=True).returncode == 1
    assert own.up() is False  # the neighbour's end did nothing to it


async def test_topics_come_into_being_only_on_request(own: Stack, topic_prefix: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=own.kafka_bootstrap, request_timeout_ms=2000) as producer:
        with pytest.raises(UnknownTopicOrPartitionError):
            await producer.partitions_for(f"{topic_prefix}-nobody-made-it")


def test_the_database_asks_for_the_password(own: Stack) -> None:
    user, rest = own.database_url.split("@")
    assert "InvalidPasswordError" in (postgres_trouble(f"{user.rsplit(':', 1)[0]}:wrong@{rest}") or "")


def test_servers_that_are_given_are_looked_at_and_left_alone(own: Stack, tmp_path: Path) -> None:
    given = Stack(
        replace(
            own.settings,
            folder=tmp_path,
            kafka_bootstrap_servers=own.kafka_bootstrap,
            database_url=own.database_url,
        )
    )
    assert given.up() is False
    assert [one.kind for one in given.status()] == ["given", "given"]
    assert given.down() is False
    assert own.up() is False
    gone = Stack(replace(given.settings, kafka_bootstrap_servers="127.0.0.1:1"))
    with pytest.raises(UnreachableError, match="TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS does not answer"):
        gone.up()


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
