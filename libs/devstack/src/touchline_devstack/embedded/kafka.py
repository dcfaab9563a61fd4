"""Apache Kafka in KRaft mode: one node that is broker and controller, on the loopback interface."""

from __future__ import annotations

import base64
import signal
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

from touchline_devstack.embedded import ports
from touchline_devstack.embedded.jars import JarCache
from touchline_devstack.embedded.pids import ProcessIdentity, launch
from touchline_devstack.embedded.server import EmbeddedServer, tail
from touchline_devstack.embedded.state import ServerState
from touchline_devstack.errors import ServerError
from touchline_devstack.narrate import Narrator
from touchline_devstack.probes import kafka_trouble

# 512 MB is plenty for one node. The JVM's defaults otherwise: stopping the compiler at its first tier would start the
# broker 0.8 s sooner (2.1 s instead of 2.9 s on two cores) and cost throughput for as long as it runs.
_JVM = (
    "-Xmx512m",
    "-Djava.awt.headless=true",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
)
_LOGGING = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
)


class KafkaServer(EmbeddedServer):
    """The broker of one folder: `<folder>/kafka/{server.properties,data}`, log in `<folder>/logs/kafka.log`."""

    title = "Kafka"
    process_name = "java"

    def __init__(
        self,
        folder: Path,
        state: ServerState,
        remember: Callable[[], None],
        jars: JarCache,
        java: Callable[[], Path],
        narrator: Narrator,
    ) -> None:
        super().__init__(folder, state, remember)
        self._jars = jars
        self._java = java
        self._narrator = narrator
        self._properties = folder / "kafka" / "server.properties"
        self._data = folder / "kafka" / "data"

    @property
    def marker(self) -> str:
        return str(self._properties)

    @property
    def log(self) -> Path:
        return self.folder / "logs" / "kafka.log"

    def prepare(self) -> None:
        self._jars.ensure(self._narrator)
        self._data.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)

    def choose_ports(self) -> list[int]:
        self.state.port = ports.free_port(self.state.port)
        self.state.controller_port = ports.free_port(self.state.controller_port, avoid={self.state.port})
        self.state.address = f"{ports.LOOPBACK}:{self.state.port}"
        return [self.state.port, self.state.controller_port]

    def launch(self) -> ProcessIdentity:
        self._properties.write_text(self._configuration(), "utf-8")
        java = str(self._java())
        if not (self._data / "meta.properties").exists():
            self._format(java)
        return launch(
            [java, *_JVM, *_LOGGING, "-cp", self._jars.classpath(), "kafka.Kafka", self.marker],
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

    def _format(self, java: str) -> None:
        """Give the folder its cluster id. A cluster id is 16 random bytes in base64url without padding."""
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # fmt: off
        command = [
            java, "-Xmx128m", "-XX:TieredStopAtLevel=1", *_LOGGING, "-cp", self._jars.classpath(),
            "kafka.tools.StorageTool", "format", "--cluster-id", cluster_id, "--config", self.marker,
            "--ignore-formatted",
        ]
        # fmt: on
        with self.log.open("ab") as log:
            done = subprocess.run(  # noqa: S603 - our own command line
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False, timeout=120
            )
        if done.returncode != 0:
            raise ServerError(f"Kafka's storage could not be formatted. The end of {self.log}:\n{tail(self.log)}")

    def _configuration(self) -> str:
        """server.properties, written anew at each start: the ports may have changed."""
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{ports.LOOPBACK}:{self.state.controller_port}",
            "listeners": f"PLAINTEXT://{self.state.address},CONTROLLER://{ports.LOOPBACK}:{self.state.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.state.address}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self._data,
            # A topic that nobody declared is a mistake to be seen, not to be covered up.
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
