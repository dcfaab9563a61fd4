"""The three services on an embedded stack of their own, as a load run finds them."""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from touchline_devstack.processes import Service, command
from touchline_devstack.settings import DevstackSettings
from touchline_devstack.stack import Stack

from tests.support.service_commands import SERVICE_COMMANDS

KEY = "a-write-key-of-the-load"
PREFIX = "load"
PARTITIONS = 8


@dataclass(frozen=True)
class Running:
    """A stack, and the services by role."""

    stack: Stack
    folder: Path
    services: Mapping[str, Service]


@contextmanager
def running(*roles: str, **settings: str) -> Iterator[Running]:
    """Start a stack and services; stop and remove everything at the end.

    Args:
        settings: environment variables without ``TOUCHLINE_``, in lower case.
    """
    with tempfile.TemporaryDirectory(prefix="touchline-load-") as name:
        folder = Path(name)
        stack = Stack(replace(DevstackSettings.from_environment(), folder=folder / "stack"))
        stack.up()
        try:
            with services(stack, folder, *roles, **settings) as found:
                yield Running(stack, folder, found)
        finally:
            stack.down()


@contextmanager
def services(stack: Stack, folder: Path, *roles: str, **settings: str) -> Iterator[Mapping[str, Service]]:
    """Start services on a stack that is up."""
    sources = folder / "sources.yaml"
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    sources.write_text(f'sources:\n  - {{name: load, kind: api, key_sha256: "{digest}"}}\n')
    environment = {
        **stack.env(),
        "TOUCHLINE_TOPIC_PREFIX": PREFIX,
        "TOUCHLINE_PARTITIONS": str(PARTITIONS),
        "TOUCHLINE_SOURCES_FILE": str(sources),
        "TOUCHLINE_UNSUBSCRIBE_SECRET": "a-secret-of-the-load-run-0123456789",
        "TOUCHLINE_NOTIFIER_PUBLIC_URL": "http://127.0.0.1:8082",
        "TOUCHLINE_LOG_FORMAT": "json",
        **{f"TOUCHLINE_{name.upper()}": value for name, value in settings.items()},
    }
    with ExitStack() as started:
        found = {}
        for role in roles:
            program, *arguments = SERVICE_COMMANDS[role]
            service = Service(role, [command(program), *arguments], environment=environment, logs=folder)
            found[role] = started.enter_context(service)
            service.wait_ready()
        yield found


def resident_mib(service: Service) -> float:
    """The resident memory of a process in MiB."""
    return round(float(psutil.Process(service.pid).memory_info().rss) / 2**20, 1)


def open_files(service: Service) -> int:
    """How many file descriptors a process has."""
    return int(psutil.Process(service.pid).num_fds())
