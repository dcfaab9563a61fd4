"""Does it really answer? One question to each server, asked through the drivers the services use.

The functions are synchronous and may be called while an event loop runs in the calling thread: they ask from a thread
of their own.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

Answer = TypeVar("Answer")

# Its log is full of warnings while a broker is still starting; the probe says itself what went wrong.
_PROBE_GROUP = "touchline-devstack-probe"


def run_apart(question: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
    """Run a coroutine to its end in a thread with an event loop of its own."""
    answers: list[Answer] = []
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            answers.append(asyncio.run(question()))
        except BaseException as error:  # handed to the caller's thread
            errors.append(error)

    thread = threading.Thread(target=ask, name="devstack-probe")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return answers[0]


def kafka_trouble(bootstrap_servers: str, timeout: float = 5.0) -> str | None:
    """None when the broker tells its cluster's brokers and coordinates a group; else what is wrong.

    The coordinator's answer means that the controller creates topics and the broker leads and writes partitions: the
    group's offsets live in a topic that comes into being with the first question. `timeout` in seconds.
    """

    async def ask() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=int(timeout * 1000))
        try:
            await admin.start()
            cluster = await admin.describe_cluster()
            if not cluster["brokers"]:
                raise KafkaError("it knows of no broker")
            await admin.find_coordinator(_PROBE_GROUP)
        finally:
            await admin.close()

    try:
        with _Hushed("aiokafka"):
            run_apart(lambda: asyncio.wait_for(ask(), timeout))
    except TimeoutError:
        return f"no answer in {timeout:g} s"
    except (KafkaError, OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def postgres_trouble(url: str, timeout: float = 5.0) -> str | None:
    """None when the database answers a query; else what is wrong. `timeout` in seconds."""
    try:
        query(url, "SELECT 1", timeout)
    except TimeoutError:
        return f"no answer in {timeout:g} s"
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def query(url: str, sql: str, timeout: float = 5.0) -> Any:
    """The first value of the first row of `sql`, on a connection of its own. Raises what asyncpg raises."""

    async def ask() -> Any:
        connection = await asyncpg.connect(url, timeout=timeout)
        try:
            return await connection.fetchval(sql, timeout=timeout)
        finally:
            await connection.close(timeout=timeout)

    return run_apart(ask)


def wait_until_well(trouble: Callable[[], str | None], timeout: float) -> str | None:
    """Ask until there is no trouble or `timeout` seconds are over; the last trouble, or None."""
    deadline = time.monotonic() + timeout
    while (found := trouble()) is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


class _Hushed:
    """A logger that is silenced temporarily."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)
        self._level = self._logger.level

    def __enter__(self) -> None:
        self._level = self._logger.level
        self._logger.setLevel(logging.CRITICAL + 1)

    def __exit__(self, *_: object) -> None:
        self._logger.setLevel(self._level)
