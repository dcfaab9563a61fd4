"""Apache Kafka in KRaft mode: one node that is broker and controller, on the loopback interface."""

from __future__ import annotations

import base64
import signal
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from touchline_devstack.embedded import ports
from touchline_devstack.embedded.pids import ProcessIdentity, launch
from touchline_devstack.embedded.server import EmbeddedServer, tail
from touchline_devstack.embedded.state import ServerState
from touchline_devstack.errors import ServerError
from touchline_devstack.probes import kafka_trouble

# 512 MB is plenty for one node. The rest is the JVM's own choice: stopping its compiler at the first tier would start
# the broker a little sooner and cost throughput for as long as it runs.
_JVM = ("-Xmx512m", "-Djava.awt.headless=true")
_LOGGING = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
)


@dataclass(frozen=True)
class KafkaRuntime:
    """What it takes to run a program of Kafka's: a Java, the jars, options for it, and options for the broker alone."""

    executable: Path
    classpath: str
    options: tuple[str, ...] = ()
    broker_options: tuple[str, ...] = ()

    def java(self, *options: str) -> list[str]:
        """The command line up to the main class."""
        return [str(self.executable), *self.options, *options, *_LOGGING, "-cp", self.classpath]


class KafkaServer(EmbeddedServer):
    """The broker of one folder: `<folder>/kafka/{server.properties,data}`, log in `<folder>/logs/kafka.log`."""

    title = "Kafka"
    process_name = "java"

    def __init__(
        self,
        folder: Path,
        state: ServerState,
        remember: Callable[[], None],
        runtime: Callable[[], KafkaRuntime],
    ) -> None:
        """`runtime` is asked at each start, not before: it may have to download."""
        super().__init__(folder, state, remember)
        self._ask_for_runtime = runtime
        self._runtime: KafkaRuntime | None = None
        self._properties = folder / "kafka" / "server.properties"
        self._data = folder / "kafka" / "data"

    @property
    def marker(self) -> str:
        return str(self._properties)

    @property
    def log(self) -> Path:
        return self.folder / "logs" / "kafka.log"

    def prepare(self) -> None:
        self._runtime = self._ask_for_runtime()
        self._data.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)

    def choose_ports(self) -> list[int]:
        self.state.port = ports.free_port(self.state.port)
        self.state.controller_port = ports.free_port(self.state.controller_port, avoid={self.state.port})
        self.state.address = f"{ports.LOOPBACK}:{self.state.port}"
        return [self.state.port, self.state.controller_port]

    def launch(self) -> ProcessIdentity:
        if self._runtime is None:
            raise AssertionError("launch() comes after prepare()")
        self._properties.write_text(self._configuration(), "utf-8")
        if not (self._data / "meta.properties").exists():
            self._format(self._runtime)
        return launch(
            [*self._runtime.java(*self._runtime.broker_options, *_JVM), "kafka.Kafka", self.marker],
            marker=self.marker,
            log=self.log,
            cwd=self.log.parent,
        )

    def trouble(self) -> str | None:
        if self.state.port is None or self.state.address is None:
            return "it has no port yet"
        if not ports.answers(self.state.port):
            return f"nothing listens on port {self.state.port}"
        return kafka_trouble(self.state.address)

    def ask_to_stop(self, process: ProcessIdentity) -> bool:
        return process.stop(signal.SIGTERM, self.stop_timeout)

    def _format(self, runtime: KafkaRuntime) -> None:
        """Give the folder its cluster id. A cluster id is 16 random bytes in base64url without padding."""
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        command = [*runtime.java("-Xmx128m"), "kafka.tools.StorageTool", "format", "--ignore-formatted"]
        # In one word: one id in 64 begins with a hyphen, and would pass for an option.
        command += [f"--cluster-id={cluster_id}", "--config", self.marker]
        with self.log.open("ab") as log:
            done = subprocess.run(  # noqa: S603 - our own command line
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False, timeout=120
            )
        if done.returncode != 0:
            raise ServerError(f"Kafka's storage could not be formatted. The end of {self.log}:\n{tail(self.log)}")

    def _configuration(self) -> str:
        """server.properties, written at each start because the ports may have changed."""
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{ports.LOOPBACK}:{self.state.controller_port}",
            "listeners": f"PLAINTEXT://{self.state.address},CONTROLLER://{ports.LOOPBACK}:{self.state.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.state.address}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self._data,
            # An undeclared topic is a mistake, so it must fail.
            "auto.create.topics.enable": "false",
            # One node, so one copy; few internal partitions, so that the first consumer doesn't wait for fifty.
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 4,
            "group.initial.rebalance.delay.ms": 0,
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
            # 128 MB by default, a quarter of the heap.
            "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        }
        return "".join(f"{name}={value}\n" for name, value in settings.items())
