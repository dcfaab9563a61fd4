"""The stage engine's settings: environment variables ``TOUCHLINE_…`` (see the base class for the shared ones)."""

import socket
from pathlib import Path

from pydantic import Field, SecretStr
from touchline_runtime.database import schema_of
from touchline_runtime.settings import ServiceSettings

SCHEMA = "stage_engine"


class StageEngineSettings(ServiceSettings):
    """What the stage engine needs to know."""

    http_port: int = Field(default=8081, ge=0, le=65535, description="Port to listen on.")
    lifecycles: str = Field(
        default="",
        description="Names of the lifecycles to run, comma-separated. Default: service-cycle, reach-to-loyalty and "
        "every definition in TOUCHLINE_LIFECYCLES_DIR.",
    )
    lifecycles_dir: Path | None = Field(
        default=None, description="Folder of lifecycle definitions (*.yaml, *.yml), beside the built-in ones."
    )
    worker_name: str = Field(
        default="",
        description="This engine's name in its consumer group; the same after a restart, and no two running alike. "
        "Default: the host's name and TOUCHLINE_HTTP_PORT.",
    )
    batch_records: int = Field(
        default=12_000, ge=1, le=100_000, description="Touchpoints of one partition folded in one transaction, at most."
    )
    cached_customers: int = Field(
        default=40_000, ge=100, description="Customers an engine process keeps in memory, over all its partitions."
    )
    checkpoint_every: int = Field(
        default=500, ge=10, description="Touchpoints of a customer between two checkpoints of their stages."
    )
    erasure_secret: SecretStr = Field(
        default=SecretStr(""),
        description="Secret of the keyed hashes that remember erased customers. Default: one made at the first start "
        "and kept in the database.",
    )

    def names_wanted(self) -> tuple[str, ...]:
        """The names in ``lifecycles``; empty when it was left out."""
        return tuple(dict.fromkeys(name for name in (part.strip() for part in self.lifecycles.split(",")) if name))

    def worker(self, index: int = 0) -> str:
        """The name of one worker process in the consumer group."""
        name = self.worker_name or f"{socket.gethostname()}-{self.http_port}"
        return f"{self.topic_prefix}-{name}-{index}"

    @property
    def schema_name(self) -> str:
        """The PostgreSQL schema of this deployment: another topic prefix is another deployment, with its own tables."""
        return schema_of(self, SCHEMA)
