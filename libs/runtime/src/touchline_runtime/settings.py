"""Settings: environment variables ``TOUCHLINE_…``, each documented here or in a service's own subclass.

A setting's description is what ``--help`` and ``docs/settings.md`` say of it.
"""

import hashlib
import ipaddress
import os
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from touchline_runtime.errors import ConfigurationError

S = TypeVar("S", bound="ServiceSettings")


class ServiceSettings(BaseSettings):
    """What all services share. Read with :func:`read_settings`, which explains what is wrong."""

    model_config = SettingsConfigDict(env_prefix="TOUCHLINE_", env_ignore_empty=True, extra="ignore", frozen=True)

    kafka_bootstrap_servers: str = Field(
        default="", description="Kafka brokers, host:port, comma-separated. `touchline-devstack env` prints one."
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="How to talk to Kafka."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", description="SASL mechanism, with a SASL_… security protocol."
    )
    kafka_sasl_username: str | None = Field(default=None, description="SASL user name.")
    kafka_sasl_password: SecretStr | None = Field(default=None, description="SASL password.")
    kafka_ca_file: Path | None = Field(default=None, description="PEM file of the CA that signed the brokers' keys.")
    kafka_replication_factor: int = Field(
        default=-1, description="Replicas of topics on creation; -1: the broker's default."
    )
    database_url: SecretStr = Field(default=SecretStr(""), description="postgresql://user:password@host:port/database")

    http_host: str = Field(default="127.0.0.1", description="Address to listen on.")
    http_port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on.")
    api_tokens: SecretStr = Field(
        default=SecretStr(""),
        description="Bearer tokens for the query APIs and pages, comma-separated (`sha256:<hex>` keeps a token out of "
        "the environment). Needed to listen on anything but loopback.",
    )
    topic_prefix: str = Field(
        default="touchline", pattern=r"^[A-Za-z0-9_-]+$", description="First part of topic names."
    )
    partitions: int = Field(default=8, ge=1, le=4096, description="Partitions of customer-keyed topics, on creation.")
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

    @field_validator("database_url")
    @classmethod
    def _a_postgresql_url(cls, value: SecretStr) -> SecretStr:
        url = value.get_secret_value()
        if not url:
            return value
        scheme, separator, rest = url.partition("://")
        if not separator or scheme.split("+")[0] not in ("postgresql", "postgres"):
            raise ValueError("must be a PostgreSQL address: postgresql://user:password@host:port/database")
        return SecretStr("postgresql://" + rest)

    @model_validator(mode="after")
    def _guarded_beyond_loopback(self) -> Self:
        if not is_loopback(self.http_host) and not self.has_credentials():
            raise ValueError(
                f"TOUCHLINE_HTTP_HOST={self.http_host} can be reached from other machines, and no credentials are "
                "configured: set TOUCHLINE_API_TOKENS, or listen on 127.0.0.1"
            )
        return self

    def has_credentials(self) -> bool:
        """Whether whoever reaches the port has to show something. Services with other credentials override this."""
        return bool(self.api_tokens.get_secret_value().strip())

    def token_hashes(self) -> frozenset[str]:
        """SHA-256 (hex) of every API token."""
        tokens = (token.strip() for token in self.api_tokens.get_secret_value().split(","))
        return frozenset(
            token.removeprefix("sha256:").lower()
            if token.startswith("sha256:")
            else hashlib.sha256(token.encode()).hexdigest()
            for token in tokens
            if token
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
