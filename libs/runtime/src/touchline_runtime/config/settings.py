"""Settings: environment variables ``TOUCHLINE_…``, each documented here or in a service's own subclass.

A setting's description is what ``--help`` and ``docs/settings.md`` say of it.
"""

import ipaddress
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from touchline_runtime.config.exposure import Exposure
from touchline_runtime.config.secrets import empty_secret
from touchline_runtime.errors import ConfigurationError
from touchline_runtime.http.tokens import Tokens, parse_api_tokens, read_tokens_file

if TYPE_CHECKING:
    # Half a second of imports that a short command line need not wait for.
    from touchline_runtime.http.auth import Access

S = TypeVar("S", bound="ServiceSettings")

PUBLIC_URL = r"^(https?://[^/\s?#]+(/[^\s?#]*)?)?$"
"""What a public address looks like."""
# host, host:port, or an IPv6 address in brackets; the port is judged apart.
_BROKER = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:/@\s]+)(?::([^:/@\s]*))?").fullmatch


class ServiceSettings(BaseSettings):
    """What all services share. Read with :func:`read_settings`, which explains what is wrong."""

    secret_lists: ClassVar[frozenset[str]] = frozenset(("unsubscribe_secret",))
    """Fields that hold several secrets, comma-separated."""
    service: ClassVar[str] = ""
    """Whom the console's tokens are for; empty in what accepts none."""

    model_config = SettingsConfigDict(env_prefix="TOUCHLINE_", env_ignore_empty=True, extra="ignore", frozen=True)

    kafka_bootstrap_servers: str = Field(
        default="", description="Kafka brokers, host:port, comma-separated. `touchline-devstack env` prints one."
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="How to talk to Kafka."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = Field(
        default="SCRAM-SHA-512", description="SASL mechanism, with a SASL_… security protocol."
    )
    kafka_sasl_username: str | None = Field(default=None, description="SASL user name.")
    kafka_sasl_password: SecretStr | None = Field(default=None, description="SASL password.")
    kafka_oauth_token_url: str = Field(
        default="",
        pattern=r"^(https?://\S+)?$",
        description="With OAUTHBEARER: where tokens are fetched by the client credentials grant (RFC 6749, 4.4).",
    )
    kafka_oauth_client_id: str | None = Field(default=None, description="With OAUTHBEARER: the client's id.")
    kafka_oauth_client_secret: SecretStr | None = Field(
        default=None, description="With OAUTHBEARER: the client's secret."
    )
    kafka_oauth_scope: str | None = Field(default=None, description="With OAUTHBEARER: the scope to ask for.")
    kafka_ca_file: Path | None = Field(default=None, description="PEM file of the CA that signed the brokers' keys.")
    kafka_cert_file: Path | None = Field(
        default=None, description="PEM file of the client's certificate, for mutual TLS, with its chain."
    )
    kafka_key_file: Path | None = Field(
        default=None, description="PEM file of that certificate's key. Default: it is in TOUCHLINE_KAFKA_CERT_FILE."
    )
    kafka_key_password: SecretStr | None = Field(default=None, description="Password of the client certificate's key.")
    kafka_replication_factor: int = Field(
        default=-1,
        description="Replicas of topics on creation; -1: the broker's default. With 3 or more, topics are created with "
        "min.insync.replicas=2.",
    )
    database_url: SecretStr = Field(default=SecretStr(""), description="postgresql://user:password@host:port/database")
    database_command_timeout_seconds: float = Field(
        default=30.0,
        gt=0,
        description="How long PostgreSQL may take for one command before its connection is closed and the work is "
        "tried again on a new one.",
    )
    stall_seconds: float = Field(
        default=20.0,
        gt=0,
        description="How long work may go without progress (a commit, or the confirmation that nothing waits) before "
        "/readyz reports it.",
    )

    http_host: str = Field(default="127.0.0.1", description="Address to listen on.")
    http_port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on.")
    public_url: str = Field(
        default="",
        pattern=PUBLIC_URL,
        description="Scheme and host under which Touchline, or the reverse proxy in front of it, is reached, such as "
        "https://touchline.example.org: what vendors sign and what unsubscribe links begin with. It means the same in "
        "every service; one with a host of its own has TOUCHLINE_INGEST_PUBLIC_URL or TOUCHLINE_NOTIFIER_PUBLIC_URL.",
    )
    allowed_hosts: str = Field(
        default="",
        description="Host names under which browsers may reach the APIs and pages, comma-separated, beside the public "
        "URL's. On loopback only this machine's names and these are answered; elsewhere any, unless this is set.",
    )
    max_connections: int = Field(
        default=2_000,
        ge=1,
        description="HTTP connections open at once. Beyond it a new one takes the place of one that waits for its "
        "client, the longest idle first; when all are busy, health is answered and everything else 503. Lowered, with "
        "max_connections_lowered in the log, where the process may open too few files (ulimit -n).",
    )
    console_url: str = Field(
        default="http://127.0.0.1:8090",
        pattern=r"^https?://[^/?#]+(/[^?#]*)?$",
        description="Address of the console, as browsers reach it: `/` of the other services leads there.",
    )
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="Port that serves /metrics, /healthz and a detailed /readyz, without tokens, on "
        "TOUCHLINE_HTTP_HOST; /metrics is then gone from TOUCHLINE_HTTP_PORT. Default: TOUCHLINE_HTTP_PORT serves all, "
        "/metrics beyond loopback with an API token alone.",
    )
    api_tokens: SecretStr = Field(
        default=SecretStr(""),
        description="Tokens for the APIs and pages, comma-separated, each an operator (`sha256:<hex>` keeps a token "
        "out of the environment). These or TOUCHLINE_TOKENS_FILE are needed to listen on anything but loopback.",
    )
    tokens_file: Path | None = Field(
        default=None,
        description="YAML file of tokens with roles: `tokens: [{name: ada, role: viewer, token_sha256: <hex>}]`; "
        "viewer, editor or operator. Read again when it changes.",
    )
    console_public_keys: str = Field(
        default="",
        description="Public keys of the console, comma-separated, one of which must have signed what it asks for "
        "people who signed in by OpenID Connect. `touchline-console new-key` prints a key pair. Default: it may not "
        "ask for people.",
    )
    topic_prefix: str = Field(
        default="touchline", pattern=r"^[A-Za-z0-9_-]+$", description="First part of topic names."
    )
    partitions: int = Field(default=8, ge=1, le=4096, description="Partitions of customer-keyed topics, on creation.")
    traces_endpoint: str = Field(
        default="",
        pattern=r"^(https?://\S+)?$",
        description="Where OpenTelemetry spans are sent by OTLP over HTTP, such as http://collector:4318/v1/traces. "
        "Needs `touchline-runtime[traces]`. Default: no traces.",
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="json, console, or auto: console on a terminal, json elsewhere."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least level logged.")
    auto_migrate: bool = Field(default=True, description="Create or migrate the database's tables at start.")
    startup_timeout_seconds: float = Field(
        default=60.0, gt=0, description="How long to wait at start for Kafka and PostgreSQL to answer."
    )
    shutdown_timeout_seconds: float = Field(
        default=25.0, gt=0, description="How long to finish what was accepted after SIGTERM, before giving up."
    )

    @field_validator("log_level", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("kafka_bootstrap_servers")
    @classmethod
    def _addresses_of_brokers(cls, value: str) -> str:
        for one in value.split(",") if value.strip() else []:
            address = one.strip()
            if "://" in address:
                raise ValueError(
                    f"{address!r} begins with a scheme: write host:port, such as {address.partition('://')[2]!r}, and "
                    "set TOUCHLINE_KAFKA_SECURITY_PROTOCOL"
                )
            found = _BROKER(address)
            if found is None:
                raise ValueError(f"{address!r} is not the address of a broker: write host:port, comma-separated")
            host, port = found.groups()
            if port is not None and not (port.isascii() and port.isdecimal() and 0 < int(port) < 65_536):
                raise ValueError(f"{address!r} has no usable port: write host:port, such as {host}:9092")
        return value

    @field_validator("database_url")
    @classmethod
    def _a_postgresql_url(cls, value: SecretStr) -> SecretStr:
        url = value.get_secret_value()
        if not url:
            return value
        scheme, separator, rest = url.partition("://")
        if not separator or scheme.split("+")[0] not in ("postgresql", "postgres"):
            raise ValueError("must be a PostgreSQL address: postgresql://user:password@host:port/database")
        try:
            port = urlsplit("postgresql://" + rest).port
        except ValueError:
            port = 0
        if port == 0:
            raise ValueError("has no usable port: write postgresql://user:password@host:port/database")
        return SecretStr("postgresql://" + rest)

    @field_validator("*")
    @classmethod
    def _no_empty_secret(cls, value: object, info: ValidationInfo) -> object:
        """A secret made of unset variables is an error: it must never mean "no secret"."""
        if not isinstance(value, SecretStr) or not value.get_secret_value():
            return value
        text = value.get_secret_value()
        if info.field_name == "api_tokens":
            parse_api_tokens(text)
            return value
        parts = text.split(",") if info.field_name in cls.secret_lists else [text]
        for part in parts:
            why = empty_secret(part)
            if why is not None:
                which = "one of its secrets" if len(parts) > 1 else "it"
                raise ValueError(f"{which} {why}: write the secret, or leave the variable unset")
        return value

    @field_validator("tokens_file")
    @classmethod
    def _a_usable_tokens_file(cls, value: Path | None) -> Path | None:
        if value is not None:
            try:
                read_tokens_file(value)
            except ConfigurationError as error:
                raise ValueError(str(error)) from None
        return value

    @field_validator("console_public_keys")
    @classmethod
    def _usable_public_keys(cls, value: str) -> str:
        if value:
            from touchline_runtime.console_tokens.keys import parse_public_keys

            parse_public_keys(value)
        return value

    @model_validator(mode="after")
    def _guarded_beyond_loopback(self) -> Self:
        if not is_loopback(self.http_host) and not self.has_credentials():
            raise ValueError(
                f"TOUCHLINE_HTTP_HOST={self.http_host} can be reached from other machines, and no credentials are "
                "configured: set TOUCHLINE_API_TOKENS or TOUCHLINE_TOKENS_FILE, or listen on 127.0.0.1"
            )
        return self

    def has_credentials(self) -> bool:
        """Whether every request needs credentials. Services with other credentials override it."""
        accepts_people = bool(self.service) and bool(self.console_public_keys)
        return bool(self.api_tokens.get_secret_value()) or self.tokens_file is not None or accepts_people

    def access(self) -> "Access":
        """The tokens in force."""
        from touchline_runtime.console_tokens.keys import parse_public_keys
        from touchline_runtime.console_tokens.tokens import ConsoleVerifier
        from touchline_runtime.http.auth import Access

        tokens = Tokens(parse_api_tokens(self.api_tokens.get_secret_value()), self.tokens_file)
        keys = parse_public_keys(self.console_public_keys) if self.service else ()
        console = ConsoleVerifier(keys, self.service) if keys else None
        return Access(tokens, local=is_loopback(self.http_host), console=console)

    def own_public_url(self) -> str:
        """The public address of this service, without a slash at its end; empty when none is set."""
        return self.public_url.rstrip("/")

    def exposure(self) -> Exposure:
        """Who can reach the port, and under which names."""
        hosts = [host.strip().lower() for host in self.allowed_hosts.split(",") if host.strip()]
        public = urlsplit(self.own_public_url())
        return Exposure(
            loopback=is_loopback(self.http_host),
            hosts=frozenset(hosts),
            public_host=(public.hostname or "").lower(),
            public_origin=f"{public.scheme}://{public.netloc}".lower() if public.netloc else "",
            serves_metrics=self.metrics_port is None,
        )

    def need(self, *names: str) -> Self:
        """Check that settings without a usable default were given.

        Raises:
            ConfigurationError: one is empty.
        """
        for name in names:
            value = getattr(self, name)
            if isinstance(value, SecretStr):
                value = value.get_secret_value()
            if not value:
                about = type(self).model_fields[name].description
                raise ConfigurationError(
                    f"TOUCHLINE_{name.upper()} is not set. {about}\n"
                    "For a Kafka and a PostgreSQL on this machine: touchline-devstack up, then "
                    "export $(touchline-devstack env)"
                )
        return self


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on that address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_settings(model: type[S], **overrides: Any) -> S:
    """Read settings from the environment; arguments given on a command line win.

    Raises:
        ConfigurationError: a setting is wrong; one line each, with the variable's name and the remedy.
    """
    try:
        return model(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            name = "_".join(str(part) for part in problem["loc"]).upper()
            message = problem["msg"].removeprefix("Value error, ")
            if not name:
                lines.append(message)
                continue
            field = model.model_fields.get(name.lower())
            shown = "" if _is_secret(field) else f"={os.environ.get('TOUCHLINE_' + name, problem.get('input'))}"
            about = f" ({field.description})" if field and field.description else ""
            lines.append(f"TOUCHLINE_{name}{shown}: {message}{about}")
        raise ConfigurationError("wrong settings:\n  " + "\n  ".join(lines)) from None


def _is_secret(field: object) -> bool:
    return "SecretStr" in str(getattr(field, "annotation", ""))
