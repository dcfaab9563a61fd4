"""The notifier's settings: environment variables ``TOUCHLINE_…``."""

import socket
from pathlib import Path

from pydantic import Field, SecretStr
from touchline_runtime.database import schema_of
from touchline_runtime.settings import ServiceSettings


class NotifierSettings(ServiceSettings):
    """What the notifier needs beyond what all services share."""

    http_port: int = Field(default=8082, ge=0, le=65535, description="Port to listen on.")
    plays_dir: Path | None = Field(
        default=None, description="Folder of plays, one YAML file each (*.yaml, *.yml); all of them run."
    )
    plays: str = Field(
        default="",
        description="Names of shipped plays to run as they are, comma-separated (`touchline-notifier plays` lists "
        "them). None by default: a shipped play runs when it is named here, or copied into TOUCHLINE_PLAYS_DIR.",
    )
    endpoints_file: Path | None = Field(
        default=None, description="YAML file of the endpoints that actions and facts are sent to."
    )
    sending: bool = Field(
        default=True, description="false: nothing is sent; actions are held back, and decided again when it is true."
    )
    delivery_allowed_networks: str = Field(
        default="",
        description="Networks that deliveries may go to although they are not public, comma-separated, such as "
        "127.0.0.0/8. None by default.",
    )
    public_url: str = Field(
        default="", description="How customers reach this service, for unsubscribe links: https://notify.example.org"
    )
    unsubscribe_secret: SecretStr = Field(
        default=SecretStr(""),
        description="Secret of unsubscribe links, comma-separated when rotating, the newest first. By default one is "
        "made and kept in the database.",
    )
    lifecycles_wait_seconds: float = Field(
        default=20.0, gt=0, description="How long to wait at start for the lifecycles that plays are about."
    )
    lifecycles_dir: Path | None = Field(
        default=None, description="Folder of lifecycles of your own: `check` learns their stages from it."
    )
    worker_id: str = Field(
        default="", description="Name of this process among its kind; by default host name and port. It must differ."
    )

    @property
    def schema_name(self) -> str:
        """The PostgreSQL schema of this deployment's tables."""
        return schema_of(self, "notifier")

    @property
    def search_path(self) -> str:
        """What connections see, so that the SQL needs no schema's name."""
        return f'"{self.schema_name}"'

    def worker(self, port: int) -> str:
        """This process's name."""
        return self.worker_id or f"{socket.gethostname()}-{port}"

    def shipped_plays(self) -> tuple[str, ...]:
        """Shipped plays to run."""
        return tuple(name.strip() for name in self.plays.split(",") if name.strip())
