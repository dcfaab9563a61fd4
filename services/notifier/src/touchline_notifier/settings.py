"""The notifier's settings: environment variables ``TOUCHLINE_…``."""

import socket
from pathlib import Path
from typing import ClassVar

from pydantic import Field, SecretStr
from touchline_runtime.config.settings import PUBLIC_URL, ServiceSettings
from touchline_runtime.database.pools import schema_of


class NotifierSettings(ServiceSettings):
    """What the notifier needs beyond what all services share."""

    service: ClassVar[str] = "notifier"

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
    notifier_public_url: str = Field(
        default="",
        pattern=PUBLIC_URL,
        description="How customers reach the notifier, for links in mails, such as https://notify.example.org. "
        "Plays that write to customers need it. Plain http is taken for this machine alone, as http://127.0.0.1:8082. "
        "Default: TOUCHLINE_PUBLIC_URL.",
    )
    unsubscribe_secret: SecretStr = Field(
        default=SecretStr(""),
        description="Secret of links in mails, comma-separated, the newest first. By default one is made and kept "
        "in the database. Links that were made under another secret go on working.",
    )
    deliveries_kept_days: int | None = Field(
        default=None,
        ge=1,
        description="Days for which finished deliveries are kept, with their messages and attempts. Default: for ever.",
    )
    actions_kept_days: int | None = Field(
        default=None,
        ge=1,
        description="Days for which finished actions are kept, with their deliveries; longer where a play's caps, goal "
        "or max_age look back further. Results of plays count the actions that are kept. Default: for ever.",
    )
    audit_kept_days: int | None = Field(
        default=None, ge=1, description="Days for which entries of the audit log are kept. Default: for ever."
    )
    lifecycles_wait_seconds: float = Field(
        default=20.0, gt=0, description="How long to wait at start for the lifecycles that plays are about."
    )
    lifecycles_dir: Path | None = Field(
        default=None, description="Folder of lifecycles of your own: `check` learns their stages from it."
    )
    publish_token: SecretStr = Field(
        default=SecretStr(""), description="API token with which `publish` and `diff` ask the notifier at `--url`."
    )
    worker_id: str = Field(
        default="", description="Name of this process among its kind; by default host name and port. It must differ."
    )

    def own_public_url(self) -> str:
        """The public address of the notifier, without a slash at its end; empty when none is set."""
        return (self.notifier_public_url or self.public_url).rstrip("/")

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
