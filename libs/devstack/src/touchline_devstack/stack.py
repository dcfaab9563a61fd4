"""The stack as one object: bring it up, take it down, and handle the single servers in fault tests.

    stack = Stack(DevstackSettings.from_environment())
    stack.up()
    stack.kafka_bootstrap, stack.database_url

Everything is synchronous and may be called from a coroutine's thread as well (it blocks it). Every step that changes
something holds the folder's lock and goes by the folder's state file, so any number of `Stack` objects in any number of
processes may look after the same folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from touchline_devstack.choice import Choice, choose
from touchline_devstack.configured_servers import given_kafka, given_postgres
from touchline_devstack.containers import KafkaContainerServer, PostgresContainerServer, engine_answers
from touchline_devstack.databases import create_database, drop_database
from touchline_devstack.embedded.archive import kafka_runtime
from touchline_devstack.embedded.jars import JarCache, JarLock
from touchline_devstack.embedded.kafka import KafkaServer
from touchline_devstack.embedded.locks import exclusive_lock
from touchline_devstack.embedded.postgres import PostgresServer
from touchline_devstack.embedded.state import Kind, StackState
from touchline_devstack.errors import DevstackError
from touchline_devstack.parts import Part
from touchline_devstack.progress import Narrator, Silent
from touchline_devstack.settings import DATABASE_VARIABLE, KAFKA_VARIABLE, DevstackSettings

# A first `up` downloads the jars while it holds the lock.
_LOCK_TIMEOUT = 900.0  # seconds


@dataclass(frozen=True)
class PartStatus:
    """One server as `status` reports it. `trouble` is None when it answers."""

    title: str
    kind: Kind
    address: str | None
    pid: int | None
    trouble: str | None


@dataclass(frozen=True)
class Parts:
    """The two servers as this folder has them now."""

    choice: Choice
    kafka: Part
    postgres: Part


class Stack:
    """Kafka and PostgreSQL of one folder."""

    def __init__(
        self,
        settings: DevstackSettings,
        *,
        narrator: Narrator | None = None,
        engine_answers: Callable[[], bool] = engine_answers,
    ) -> None:
        self.settings = settings
        self._narrator = narrator if narrator is not None else Silent()
        self._engine_answers = engine_answers
        self._jars = JarCache(settings.cache, JarLock.of_this_package(), settings.maven_repository)
        self._state_file = settings.folder / "stack.json"

    def up(self) -> bool:
        """Start what doesn't run and return when both answer. False when both did already.

        Raises DevstackError with what to do.
        """
        with self._parts() as parts:
            return any(_both(lambda part: part.start(), parts))

    def down(self) -> bool:
        """Stop what runs, cleanly. False when nothing ran. Given servers are left alone.

        The embedded servers' data stays; Docker's containers are removed.
        """
        with self._parts() as parts:
            return any(_both(lambda part: part.take_down(), parts))

    def remove(self) -> None:
        """Remove the data and logs of a stack that was taken down, and its ports and passwords with them."""
        with self._parts() as parts:
            if running := [part.title for part in (parts.kafka, parts.postgres) if part.pid() is not None]:
                raise DevstackError(f"{' and '.join(running)} still running: `down` first.")
            for name in ("kafka", "postgres", "postgres.new", "logs"):
                shutil.rmtree(self.settings.folder / name, ignore_errors=True)
        self._state_file.unlink(missing_ok=True)

    def status(self) -> list[PartStatus]:
        """Ask both now."""
        with self._parts() as parts:
            return [
                PartStatus(part.title, kind, part.address(), part.pid(), part.trouble())
                for kind, part in ((parts.choice.kafka, parts.kafka), (parts.choice.postgres, parts.postgres))
            ]

    @property
    def kafka_bootstrap(self) -> str:
        """host:port[,host:port]. Raises DevstackError before the first `up`."""
        return self.settings.kafka_bootstrap_servers or self._known(StackState.load(self._state_file).kafka.address)

    @property
    def database_url(self) -> str:
        """postgresql://user:password@host:port/touchline. Raises DevstackError before the first `up`."""
        return self.settings.database_url or self._known(StackState.load(self._state_file).postgres.address)

    def env(self) -> dict[str, str]:
        """The variables that point a service to this stack. Raises DevstackError before the first `up`."""
        return {KAFKA_VARIABLE: self.kafka_bootstrap, DATABASE_VARIABLE: self.database_url}

    def create_database(self, name: str) -> str:
        """Create a database beside the stack's own unless it is there; returns its URL."""
        return create_database(self.database_url, name)

    def drop_database(self, name: str) -> None:
        """Drop a database, also while clients are connected to it."""
        drop_database(self.database_url, name)

    def start_kafka(self) -> bool:
        """Start Kafka and wait until it answers. False when it ran already."""
        with self._parts() as parts:
            return parts.kafka.start()

    def stop_kafka(self) -> bool:
        """Stop Kafka cleanly. False when it didn't run."""
        with self._parts() as parts:
            return parts.kafka.stop()

    def kill_kafka(self) -> None:
        """SIGKILL Kafka."""
        with self._parts() as parts:
            parts.kafka.kill()

    def start_postgres(self) -> bool:
        """Start PostgreSQL and wait until it answers. False when it ran already."""
        with self._parts() as parts:
            return parts.postgres.start()

    def stop_postgres(self) -> bool:
        """Stop PostgreSQL cleanly (connections are closed). False when it didn't run."""
        with self._parts() as parts:
            return parts.postgres.stop()

    def kill_postgres(self) -> None:
        """SIGKILL PostgreSQL, all its processes."""
        with self._parts() as parts:
            parts.postgres.kill()

    def _known(self, address: str | None) -> str:
        if address is None:
            raise DevstackError(
                f"The stack in {self.settings.folder} was never brought up. Run `touchline-devstack up` first."
            )
        return address

    @contextmanager
    def _parts(self) -> Iterator[Parts]:
        """The folder's servers, with its lock held; changes of the state in the block are saved, also after errors."""
        with exclusive_lock(self.settings.folder / "stack.lock", _LOCK_TIMEOUT, self._narrator.say):
            state = StackState.load(self._state_file)
            save_one_at_a_time = Lock()

            def remember() -> None:
                with save_one_at_a_time:
                    state.save(self._state_file)

            choice = choose(self.settings, state, self._engine_answers)
            try:
                yield Parts(
                    choice, self._kafka(choice.kafka, state, remember), self._postgres(choice.postgres, state, remember)
                )
            finally:
                remember()

    def _kafka(self, kind: Kind, state: StackState, remember: Callable[[], None]) -> Part:
        if kind == "given" and self.settings.kafka_bootstrap_servers is not None:
            return given_kafka(self.settings.kafka_bootstrap_servers)
        state.kafka.kind = kind
        if kind == "docker":
            return KafkaContainerServer(self.settings.folder, state.kafka)
        return KafkaServer(
            self.settings.folder, state.kafka, remember, lambda: kafka_runtime(self._jars, self._narrator)
        )

    def _postgres(self, kind: Kind, state: StackState, remember: Callable[[], None]) -> Part:
        if kind == "given" and self.settings.database_url is not None:
            return given_postgres(self.settings.database_url)
        state.postgres.kind = kind
        if kind == "docker":
            return PostgresContainerServer(self.settings.folder, state.postgres)
        return PostgresServer(self.settings.folder, state.postgres, remember, self._narrator)


def _both(act: Callable[[Part], bool], parts: Parts) -> list[bool]:
    """Do it to both at the same time, and to the end, even when one fails."""
    with ThreadPoolExecutor(2, thread_name_prefix="devstack") as pool:
        return list(pool.map(act, (parts.kafka, parts.postgres)))
