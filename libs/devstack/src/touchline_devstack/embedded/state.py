"""What a folder remembers of its stack: addresses, ports, pids, the database's password."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from touchline_devstack.embedded.pids import ProcessIdentity

Kind = Literal["given", "docker", "embedded"]


@dataclass
class ServerState:
    """One server. `kind` is None until it was brought up for the first time."""

    kind: Kind | None = None
    address: str | None = None
    port: int | None = None
    controller_port: int | None = None
    password: str | None = None
    process: ProcessIdentity | None = None
    container_id: str | None = None


@dataclass
class StackState:
    """Both servers, kept as JSON in one file (mode 0600: it has the password)."""

    kafka: ServerState = field(default_factory=ServerState)
    postgres: ServerState = field(default_factory=ServerState)

    @classmethod
    def load(cls, path: Path) -> StackState:
        """The state in `path`; a missing or unreadable file is an empty state (servers are found by their marker)."""
        try:
            document = json.loads(path.read_text("utf-8"))
            return cls(_server(document["kafka"]), _server(document["postgres"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def save(self, path: Path) -> None:
        """Write it whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file, indent=2)
            file.write("\n")
        temporary.replace(path)


def _server(document: dict[str, Any]) -> ServerState:
    known = {one.name: document.get(one.name) for one in fields(ServerState)}
    process = known.pop("process")
    return ServerState(**known, process=ProcessIdentity(**process) if process else None)
