"""deploy/compose.yaml held to what runs it: the schema, the settings that exist, and Kafka's own Docker entry class."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from ruamel.yaml import YAML
from touchline_devstack.embedded.archive import kafka_runtime
from touchline_devstack.embedded.jars import JarCache, JarLock
from touchline_devstack.embedded.kafka import KafkaRuntime
from touchline_devstack.progress import Silent
from touchline_devstack.settings import DevstackSettings
from touchline_devstack.stack import Stack
from touchline_runtime.config.env_vars import known_variables

from tests.support.ports import answers, free_port
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy/compose.yaml"
COMPOSE: dict[str, Any] = YAML(typ="safe", pure=True).load(FILE.read_text())
WITH_OIDC = ROOT / "deploy/compose.oidc.yaml"
PARTS = ("default", "mounted", "final")
OURS = {name: service for name, service in COMPOSE["services"].items() if "build" in service}


@pytest.mark.parametrize("file", [FILE, WITH_OIDC], ids=lambda file: file.name)
def test_it_follows_the_compose_specification(file: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_variable_of_a_service_exists() -> None:
    named = {name for service in OURS.values() for name in service["environment"] if name.startswith("TOUCHLINE_")}
    assert named
    assert named - known_variables() == set()


def test_sign_in_by_openid_connect_is_added_to_our_services_and_the_key_to_the_console_alone() -> None:
    services = YAML(typ="safe", pure=True).load(WITH_OIDC.read_text())["services"]
    assert services.keys() == OURS.keys()
    assert {name for service in services.values() for name in service["environment"]} <= known_variables()
    private = {"TOUCHLINE_CONSOLE_KEY", "TOUCHLINE_OIDC_CLIENT_SECRET"}
    for name, service in services.items():
        environment = {key: str(value) for key, value in service["environment"].items()}
        assert private & environment.keys() == (private if name == "console" else set())
        assert all(f"${{{key}:?" in environment[key] for key in private & environment.keys())


def test_every_variable_that_is_asked_for_is_in_the_example_and_no_secret_has_a_default() -> None:
    asked = re.findall(r"\$\{(\w+)(:[?-])?", FILE.read_text())
    example = set(re.findall(r"^(\w+)=", (ROOT / "deploy/compose.env.example").read_text(), re.MULTILINE))
    assert {name for name, kind in asked if kind == ":?"} == example
    secret = {name for name, kind in asked if re.search("PASSWORD|TOKEN|SECRET", name) and kind != ":?"}
    assert secret == set()
    assert re.findall(r"(?i)password: *[a-z0-9]", FILE.read_text()) == []


def test_what_is_mounted_is_there_but_for_the_keys_that_each_deployment_makes() -> None:
    assert OURS
    for service in OURS.values():
        assert service["volumes"] == ["./config:/config:ro"]
    values = {str(value) for service in OURS.values() for value in service["environment"].values()}
    named = {value.removeprefix("/config/") for value in values if value.startswith("/config/")}
    assert named == {"sources.yaml", "lifecycles", "plays", "endpoints.yaml"}
    assert {name for name in named if not (ROOT / "deploy/config" / name).exists()} <= {"sources.yaml"}
    secrets = re.findall(r"env: (\w+)", (ROOT / "deploy/config/endpoints.yaml").read_text())
    assert secrets
    assert set(secrets) <= OURS["notifier"]["environment"].keys()


def test_our_containers_write_nowhere_and_have_no_privileges() -> None:
    for name, service in OURS.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_targets_and_ports_are_those_of_the_images() -> None:
    dockerfile = (ROOT / "deploy/Dockerfile").read_text()
    for service in OURS.values():
        stage = dockerfile.split(f"FROM base AS {service['build']['target']}\n")[1].split("\nFROM ")[0]
        port = service["environment"]["TOUCHLINE_HTTP_PORT"]
        assert f"EXPOSE {port}" in stage
        assert service["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_prometheus_scrapes_the_metrics_port_of_each_service_under_the_job_that_alerts_name() -> None:
    configuration = YAML(typ="safe", pure=True).load((ROOT / "deploy/prometheus/prometheus.yaml").read_text())
    jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in configuration["scrape_configs"]}
    for name, service in OURS.items():
        port = service["environment"]["TOUCHLINE_METRICS_PORT"]
        assert jobs[f"touchline-{name}"] == [f"{name}:{port}"]
        assert not any(str(port) in published for published in service["ports"]), name
    assert jobs.keys() == {f"touchline-{name}" for name in OURS} | {"node"}
    named = set(re.findall(r'job="(\S+?)"', (ROOT / "deploy/prometheus/touchline.rules.yaml").read_text()))
    assert named == jobs.keys()


@pytest.mark.stack
async def test_the_broker_of_the_compose_file_keeps_its_records_over_a_second_start(
    stack: Stack, tmp_path: Path
) -> None:
    """Kafka's image runs `kafka.docker.KafkaDockerWrapper setup` over its environment, then the broker from what that
    wrote. Here too, with the image's paths and host names replaced by this machine's.
    """
    assert stack.kafka_bootstrap, "the jars are there once the stack is up"
    settings = DevstackSettings.from_environment()
    jars = JarCache(settings.cache, JarLock.of_this_package(), settings.maven_repository)
    runtime = kafka_runtime(jars, Silent())
    volume = COMPOSE["services"]["kafka"]["volumes"][0].partition(":")[2]
    environment = {name: str(value) for name, value in COMPOSE["services"]["kafka"]["environment"].items()}
    assert Path(environment["KAFKA_LOG_DIRS"]).is_relative_to(volume), "Kafka's data is not on the volume"

    broker, controller = free_port(), free_port()
    (data := tmp_path / "data").mkdir()
    replaced = {
        volume: str(data), "://kafka:9092": f"://127.0.0.1:{broker}", "@kafka:9093": f"@127.0.0.1:{controller}",
        "://:9092": f"://127.0.0.1:{broker}", "://:9093": f"://127.0.0.1:{controller}",
        "${KAFKA_CLUSTER_ID:-5L6g3nShT-eMCtK--X86sw}": "5L6g3nShT-eMCtK--X86sw",
    }  # fmt: skip
    for name, value in environment.items():
        for old, new in replaced.items():
            value = value.replace(old, new)
        assert "${" not in value, f"{name}={value}"
        environment[name] = value
    address = f"127.0.0.1:{broker}"

    with _container(runtime, environment, tmp_path / "first", broker):
        await _write(address, b"kept")
    with _container(runtime, environment, tmp_path / "second", broker):
        assert await _read(address) == [b"kept"]
    assert any(data.iterdir())


@contextmanager
def _container(runtime: KafkaRuntime, environment: dict[str, str], folder: Path, port: int) -> Iterator[None]:
    """A new container: nothing but the volume is left of the one before it."""
    for part in PARTS:
        (folder / part).mkdir(parents=True)
    (folder / "default/server.properties").write_text("log.dirs=/tmp/kraft-combined-logs\n")
    (folder / "default/log4j2.yaml").write_text(_LOGGING)
    (folder / "default/tools-log4j2.yaml").write_text(_LOGGING)
    (folder / "final/server.properties").write_text("")
    variables = {"PATH": os.environ["PATH"], **environment}
    setup = [*runtime.java("-Xmx256m"), "kafka.docker.KafkaDockerWrapper", "setup"]
    setup += [word for part in PARTS for word in (f"--{part}-configs-dir", str(folder / part))]
    done = subprocess.run(setup, env=variables, capture_output=True, text=True, timeout=400, check=False)
    formatted_before = "already formatted" in done.stdout + done.stderr
    assert done.returncode == 0 or formatted_before, done.stdout + done.stderr
    start = [*runtime.java("-Xmx512m"), "kafka.Kafka", str(folder / "final/server.properties")]
    with (folder / "log").open("wb") as log:
        broker = subprocess.Popen(start, env=variables, stdout=log, stderr=log)
    try:

        def up() -> bool:
            assert broker.poll() is None, (folder / "log").read_text()
            return answers(port)

        wait_for(up, "the broker listens", 120, seen=(folder / "log").read_text)
        yield
    finally:
        broker.terminate()
        broker.wait(60)


_LOGGING = """
Configuration:
  Appenders:
    Console: {name: STDOUT, PatternLayout: {pattern: "%m%n"}}
  Loggers:
    Root: {level: WARN, AppenderRef: [{ref: STDOUT}]}
"""


async def _write(address: str, value: bytes) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await admin.create_topics([NewTopic("kept", 1, 1)])
    finally:
        await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=address, acks="all")
    await producer.start()
    try:
        await producer.send_and_wait("kept", value, partition=0)
    finally:
        await producer.stop()


async def _read(address: str) -> list[bytes | None]:
    consumer = AIOKafkaConsumer(bootstrap_servers=address)
    await consumer.start()
    try:
        where = TopicPartition("kept", 0)
        consumer.assign([where])
        await consumer.seek_to_beginning(where)
        async with asyncio.timeout(180):
            found = await consumer.getone(where)
        return [found.value]
    finally:
        await consumer.stop()
