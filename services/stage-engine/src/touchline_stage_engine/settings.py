"""Settings of the stage engine: environment variables ``TOUCHLINE_…``. The base class has the shared ones."""

import socket
from pathlib import Path
from typing import ClassVar

from pydantic import Field, SecretStr
from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.database.pools import schema_of

from touchline_stage_engine.core.identity.links import SHARED_KEY_LIMIT

SCHEMA = "stage_engine"


class StageEngineSettings(ServiceSettings):
    """Settings of the stage engine."""

    service: ClassVar[str] = "engine"

    http_port: int = Field(default=8081, ge=0, le=65535, description="Port to listen on.")
    lifecycles: str = Field(
        default="",
        description="Names of the lifecycles to run, comma-separated. Default: service-cycle, reach-to-loyalty and "
        "every definition in TOUCHLINE_LIFECYCLES_DIR.",
    )
    lifecycles_dir: Path | None = Field(
        default=None, description="Folder of lifecycle definitions (*.yaml, *.yml), in addition to the built-in ones."
    )
    worker_name: str = Field(
        default="",
        description="Name of this engine in its consumer group. Keep it over restarts; two running engines must have "
        "different names. Default: the host's name and TOUCHLINE_HTTP_PORT.",
    )
    batch_records: int = Field(
        default=12_000,
        ge=1,
        le=100_000,
        description="Maximum touchpoints of a partition folded in one transaction.",
    )
    cached_customers: int = Field(
        default=40_000, ge=100, description="Maximum customers in memory, over all partitions of a process."
    )
    compiled: bool = Field(
        default=True,
        description="Run the compiled steps of folding, if they are built: the images have them, and `make setup` "
        "builds them where there is a C compiler. `false`: run the same steps in Python. `/readyz` (`hot_path`) and "
        "the log line `hot_path` say which run.",
    )
    checkpoint_every: int = Field(default=500, ge=10, description="Touchpoints of a customer between two checkpoints.")
    outcomes_kept_days: int = Field(
        default=90,
        ge=1,
        description="Days for which /v1/touchpoints/{source}/{id} reports duplicates, refusals and erasures.",
    )
    audit_kept_days: int | None = Field(
        default=None, ge=1, description="Days for which entries of the audit log are kept. Default: for ever."
    )
    shared_key_limit: int = Field(
        default=SHARED_KEY_LIMIT,
        ge=1,
        le=1000,
        description="Different customers that may name one anonymous id, e-mail address or external id. A key that "
        "more of them name is shared (a placeholder address, an office device): it links nobody, and is listed at "
        "/v1/identity-conflicts. Every different key counts as one: known customers, addresses, anonymous ids and "
        "external ids.",
    )
    audience_seconds: float = Field(
        default=2.0,
        ge=0.05,
        le=3600,
        description="Seconds between two evaluations of the audiences for customers who have changed.",
    )
    publish_token: SecretStr = Field(
        default=SecretStr(""), description="API token with which `publish` and `diff` ask the engine at `--url`."
    )
    erasure_secret: SecretStr = Field(
        default=SecretStr(""),
        description="Secret of the keyed hashes that remember erased customers. Default: one made at the first start "
        "and kept in the database. It can't change after the first erasure.",
    )

    def names_wanted(self) -> tuple[str, ...]:
        """The names in ``lifecycles``; empty by default."""
        return tuple(dict.fromkeys(name for name in (part.strip() for part in self.lifecycles.split(",")) if name))

    def worker(self, index: int = 0) -> str:
        """The name of one worker process in the consumer group."""
        name = self.worker_name or f"{socket.gethostname()}-{self.http_port}"
        return f"{self.topic_prefix}-{name}-{index}"

    @property
    def schema_name(self) -> str:
        """The PostgreSQL schema of this deployment. Each topic prefix is a deployment with its own tables."""
        return schema_of(self, SCHEMA)
