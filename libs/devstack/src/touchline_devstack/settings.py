"""Settings of the stack: the folder, given addresses, and where to store and get the jars."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

KAFKA_VARIABLE = "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS"
DATABASE_VARIABLE = "TOUCHLINE_DATABASE_URL"
FOLDER_VARIABLE = "TOUCHLINE_DEVSTACK_DIR"
REPOSITORY_VARIABLE = "TOUCHLINE_MAVEN_REPOSITORY"


@dataclass(frozen=True)
class DevstackSettings:
    """`folder` and `cache` are absolute. An address that is None was not given."""

    folder: Path
    cache: Path
    kafka_bootstrap_servers: str | None = None
    database_url: str | None = None
    maven_repository: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> DevstackSettings:
        """Read the variables above (empty means not given) and XDG_CACHE_HOME."""
        given = os.environ if environment is None else environment
        caches = given.get("XDG_CACHE_HOME") or str(Path(given.get("HOME") or Path.home()) / ".cache")
        return cls(
            folder=Path(given.get(FOLDER_VARIABLE) or ".touchline").expanduser().resolve(),
            cache=Path(caches).expanduser().resolve() / "touchline",
            kafka_bootstrap_servers=given.get(KAFKA_VARIABLE) or None,
            database_url=given.get(DATABASE_VARIABLE) or None,
            maven_repository=given.get(REPOSITORY_VARIABLE) or None,
        )
