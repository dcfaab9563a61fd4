"""Two real brokers of one cluster, whose default of min.insync.replicas is 2."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from touchline_devstack.embedded.archive import kafka_runtime
from touchline_devstack.embedded.jars import JarCache, JarLock
from touchline_devstack.progress import Silent
from touchline_devstack.settings import DevstackSettings

from tests.support.ports import answers, free_port
from tests.support.waiting import wait_for


@contextmanager
def two_brokers(folder: Path) -> Iterator[str]:
    """The brokers' addresses; up while the context is entered."""
    settings = DevstackSettings.from_environment()
    runtime = kafka_runtime(JarCache(settings.cache, JarLock.of_this_package(), settings.maven_repository), Silent())
    controller = free_port()
    ports = [free_port(), free_port()]
    brokers: list[subprocess.Popen[bytes]] = []
    try:
        for number, port in enumerate(ports, start=1):
            own = folder / str(number)
            own.mkdir()
            properties = own / "server.properties"
            properties.write_text(_properties(own, number, port, controller))
            command = [*runtime.java("-Xmx256m"), "kafka.tools.StorageTool", "format", "--config", str(properties)]
            done = subprocess.run(
                [*command, "--cluster-id=5L6g3nShT-eMCtK--X86sw"], capture_output=True, text=True, timeout=400,
                check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
            with (own / "kafka.log").open("wb") as log:
                start = [*runtime.java("-Xmx384m"), "kafka.Kafka", str(properties)]
                brokers.append(subprocess.Popen(start, stdout=log, stderr=log))

        def up() -> bool:
            for number, broker in enumerate(brokers, start=1):
                assert broker.poll() is None, (folder / str(number) / "kafka.log").read_text()
            return all(answers(port) for port in ports)

        wait_for(up, "the brokers listen", 120)
        yield ",".join(f"127.0.0.1:{port}" for port in ports)
    finally:
        for broker in reversed(brokers):
            broker.terminate()
        for broker in brokers:
            try:
                broker.wait(30)
            except subprocess.TimeoutExpired:
                broker.kill()
                broker.wait()


def _properties(folder: Path, number: int, port: int, controller: int) -> str:
    both = number == 1
    listeners = f"PLAIN://127.0.0.1:{port}" + (f",CONTROLLER://127.0.0.1:{controller}" if both else "")
    lines = {
        "process.roles": "broker,controller" if both else "broker",
        "node.id": number,
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": listeners,
        "advertised.listeners": f"PLAIN://127.0.0.1:{port}",
        "listener.security.protocol.map": "PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAIN",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": folder / "data",
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": 1,
        "min.insync.replicas": 2,
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())
