"""The two servers in Docker, through testcontainers, kept running after `up` has returned.

Testcontainers' reaper, which removes containers when the process that started them ends, is switched off for that
reason; the containers carry the folder as a label, by which `down` finds and removes them, their data with them.
Their ports are fixed and on the loopback interface, so that a container that was stopped comes back at its address.

testcontainers and docker are imported when they are needed: it takes half a second, and most folders need neither.
"""

from __future__ import annotations

import os
import secrets
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from touchline_devstack.embedded.ports import LOOPBACK, free_port
from touchline_devstack.embedded.state import ServerState
from touchline_devstack.errors import ServerError
from touchline_devstack.probes import kafka_trouble, postgres_trouble, wait_until_well

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

KAFKA_IMAGE = "confluentinc/cp-kafka:7.9.0"
POSTGRES_IMAGE = "postgres:18"
FOLDER_LABEL = "dev.touchline.folder"
SERVER_LABEL = "dev.touchline.server"
_ENGINE_TIMEOUT = 3  # seconds
_START_TIMEOUT = 120.0
_KAFKA_PORT = 9093
_POSTGRES_PORT = 5432


def engine_answers() -> bool:
    """True when a Docker engine answers where the environment says (DOCKER_HOST), else at the usual socket."""
    import docker  # type: ignore[import-untyped]

    # Checked before the client is used: on a socket without a server, the client leaves its own socket open.
    place = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if place.startswith("unix://") and not _somebody_listens(place.removeprefix("unix://")):
        return False
    try:
        client = docker.from_env(timeout=_ENGINE_TIMEOUT)
        try:
            return bool(client.ping())
        finally:
            client.close()
    except (docker.errors.DockerException, OSError):
        return False


def _somebody_listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(_ENGINE_TIMEOUT)
        try:
            client.connect(path)
        except OSError:
            return False
    return True


class ContainerServer(ABC):
    """One server in one container of this folder."""

    title: str

    def __init__(self, folder: Path, state: ServerState) -> None:
        self.state = state
        self._labels = {FOLDER_LABEL: str(folder), SERVER_LABEL: self.title}

    @abstractmethod
    def create(self) -> DockerContainer:
        """The container, configured and not started."""

    @abstractmethod
    def address_of(self, host: str) -> str:
        """Bootstrap servers or URL, given the engine's host."""

    @abstractmethod
    def probe(self, address: str) -> str | None:
        """None when the server at `address` really answers, else what is wrong."""

    def start(self) -> bool:
        """Start it unless it answers: the container that was stopped, else a new one."""
        if self.trouble() is None:
            return False
        with _translated(self.title), self._existing() as existing:
            for container in existing:
                container.start()
            if not existing:
                self._start_new()
        if (found := wait_until_well(self.trouble, _START_TIMEOUT)) is not None:
            raise ServerError(f"{self.title}'s container runs and does not answer: {found}")
        return True

    def stop(self) -> bool:
        """Stop it; the container and its data stay."""
        with _translated(self.title), self._existing() as existing:
            running = [container for container in existing if container.status == "running"]
            for container in running:
                container.stop(timeout=30)
        return bool(running)

    def take_down(self) -> bool:
        """Remove it, with its data."""
        with _translated(self.title), self._existing() as existing:
            for container in existing:
                container.remove(force=True, v=True)
        return bool(existing)

    def kill(self) -> None:
        """SIGKILL to its first process."""
        with _translated(self.title), self._existing() as existing:
            for container in existing:
                container.kill()

    def trouble(self) -> str | None:
        return "it was never started" if self.state.address is None else self.probe(self.state.address)

    def address(self) -> str | None:
        return self.state.address

    def pid(self) -> int | None:
        return None  # the engine's business, perhaps on another machine

    def _start_new(self) -> None:
        from testcontainers.core.config import testcontainers_config

        testcontainers_config.ryuk_disabled = True
        self.state.port = free_port(self.state.port)
        container = self.create()
        container.with_kwargs(labels=self._labels)
        container.start()
        self.state.address = self.address_of(container.get_container_host_ip())

    def _publish(self, container: DockerContainer, port: int) -> None:
        """Publish a container's port at ours: on loopback alone, unless the engine is on another machine."""
        ports: dict[str, Any] = container.ports
        local = (os.environ.get("DOCKER_HOST") or "unix://").startswith("unix://")
        ports[str(port)] = (LOOPBACK, self.state.port) if local else self.state.port

    @contextmanager
    def _existing(self) -> Iterator[list[Any]]:
        """The containers that carry this folder's and this server's label, running or not."""
        import docker

        client = docker.from_env()
        try:
            labels = [f"{name}={value}" for name, value in self._labels.items()]
            yield list(client.containers.list(all=True, filters={"label": labels}))
        finally:
            client.close()


class KafkaContainerServer(ContainerServer):
    """Kafka in KRaft mode."""

    title = "Kafka"

    def create(self) -> DockerContainer:
        from testcontainers.community.kafka import KafkaContainer

        container = KafkaContainer(KAFKA_IMAGE, port=_KAFKA_PORT).with_kraft()
        container.with_env("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false")
        container.with_env("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1")
        container.with_env("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1")
        self._publish(container, _KAFKA_PORT)
        return container

    def address_of(self, host: str) -> str:
        return f"{host}:{self.state.port}"

    def probe(self, address: str) -> str | None:
        return kafka_trouble(address)


class PostgresContainerServer(ContainerServer):
    """PostgreSQL."""

    title = "PostgreSQL"

    def create(self) -> DockerContainer:
        from testcontainers.community.postgres import PostgresContainer

        self.state.password = self.state.password or secrets.token_urlsafe(18)
        container = PostgresContainer(
            POSTGRES_IMAGE, port=_POSTGRES_PORT, username="touchline", password=self.state.password, dbname="touchline"
        )
        container.with_command(["postgres", "-c", "max_connections=200"])
        self._publish(container, _POSTGRES_PORT)
        return container

    def address_of(self, host: str) -> str:
        return f"postgresql://touchline:{self.state.password}@{host}:{self.state.port}/touchline"

    def probe(self, address: str) -> str | None:
        return postgres_trouble(address)


@contextmanager
def _translated(title: str) -> Iterator[None]:
    """The engine's errors as ours."""
    import docker

    try:
        yield
    except (docker.errors.DockerException, OSError) as error:
        raise ServerError(
            f"Docker could not do it for {title}: {error}. Is the engine running? Without it, remove the folder's "
            "stack.json to start again with embedded servers."
        ) from error
