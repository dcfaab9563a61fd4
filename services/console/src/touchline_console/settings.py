"""The console's settings: environment variables ``TOUCHLINE_…`` (see the base class for the shared ones)."""

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from joserfc.jwk import OKPKey
from pydantic import Field, SecretStr, field_validator, model_validator
from touchline_runtime.config.secrets import empty_secret
from touchline_runtime.config.settings import ServiceSettings, is_loopback
from touchline_runtime.console_tokens.keys import parse_private_key

from touchline_console.core.access.claims import ClaimRules, parse_roles

_URL = r"^https?://[^/?#]+(/[^?#]*)?$"


class ConsoleSettings(ServiceSettings):
    """What the console needs to know. It uses neither Kafka nor PostgreSQL."""

    http_port: int = Field(default=8090, ge=0, le=65535, description="Port to listen on.")
    ingest_url: str = Field(default="http://127.0.0.1:8080", pattern=_URL, description="Address of the ingest API.")
    engine_url: str = Field(
        default="http://127.0.0.1:8081", pattern=_URL, description="Address of the stage engine's query API."
    )
    notifier_url: str = Field(
        default="http://127.0.0.1:8082", pattern=_URL, description="Address of the notifier's API."
    )
    service_timeout_seconds: float = Field(
        default=10.0,
        gt=0,
        description="How long the console waits for an answer of a service, or of the identity provider.",
    )
    session_hours: float = Field(default=12.0, gt=0, description="How long a sign-in to the console lasts.")
    currency: str = Field(
        default="EUR", pattern=r"^[A-Z]{3}$", description="Currency (ISO 4217) in which the console shows amounts."
    )
    oidc_issuer: str = Field(
        default="",
        description="Issuer of the OpenID provider that people sign in with, exactly as its "
        "/.well-known/openid-configuration says it. Default: people sign in with a token.",
    )
    oidc_client_id: str = Field(default="", description="The console's client id at that provider.")
    oidc_client_secret: SecretStr = Field(default=SecretStr(""), description="The client's secret.")
    oidc_client_secret_file: Path | None = Field(
        default=None, description="File with the client's secret, in place of TOUCHLINE_OIDC_CLIENT_SECRET."
    )
    oidc_scopes: str = Field(
        default="openid email profile",
        description="Scopes to ask for, separated by spaces. Some providers want `groups` as well.",
    )
    oidc_roles: str = Field(
        default="",
        description="Which group has which role: `viewer=marketing; editor=growth; operator=platform`. One group in "
        "each part, a role in as many parts as needed; `viewer=*` is everybody who can sign in there. The highest role "
        "counts.",
    )
    oidc_roles_claim: str = Field(
        default="groups",
        description="Claims with a person's groups, comma-separated: names, or paths such as realm_access.roles.",
    )
    oidc_name_claim: str = Field(
        default="email",
        description="Claim with a person's name in the audit log, after `oidc:`. Choose one that people can't change "
        "themselves. Without it, or with an e-mail address that is not verified, the subject (`sub`) is the name.",
    )
    oidc_title: str = Field(
        default="your identity provider",
        max_length=60,
        description="What the sign-in page calls the provider: Sign in with ….",
    )
    console_key: SecretStr = Field(
        default=SecretStr(""),
        description="Private key with which the console signs, for each request of such a person, who asks: a line of "
        "`touchline-console new-key`. The other services need the other line, TOUCHLINE_CONSOLE_PUBLIC_KEYS.",
    )
    console_key_file: Path | None = Field(
        default=None, description="File with that key, in place of TOUCHLINE_CONSOLE_KEY."
    )

    @field_validator("oidc_issuer")
    @classmethod
    def _an_issuer(cls, value: str) -> str:
        if not value:
            return value
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must be the provider's issuer, such as https://id.example.org/realms/company")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError("must begin with https://: passwords and codes go there")
        return value

    @field_validator("oidc_scopes")
    @classmethod
    def _with_openid(cls, value: str) -> str:
        if "openid" not in value.split():
            raise ValueError("must have the scope openid: without it there is no OpenID Connect")
        return " ".join(value.split())

    @field_validator("oidc_roles")
    @classmethod
    def _usable_roles(cls, value: str) -> str:
        parse_roles(value)
        return value

    @model_validator(mode="after")
    def _whole_or_not_at_all(self) -> Self:
        secret, key = self.client_secret(), self.signing_key()
        given = {
            "TOUCHLINE_OIDC_ISSUER": self.oidc_issuer,
            "TOUCHLINE_OIDC_CLIENT_ID": self.oidc_client_id,
            "TOUCHLINE_OIDC_CLIENT_SECRET (or TOUCHLINE_OIDC_CLIENT_SECRET_FILE)": secret,
            "TOUCHLINE_OIDC_ROLES": parse_roles(self.oidc_roles),
        }
        if any(given.values()):
            missing = [name for name, value in given.items() if not value]
            if key is None:
                missing.append("TOUCHLINE_CONSOLE_KEY (or TOUCHLINE_CONSOLE_KEY_FILE; `touchline-console new-key`)")
            if missing:
                raise ValueError(f"for sign-in by OpenID Connect these are missing: {', '.join(missing)}")
        return self

    def has_credentials(self) -> bool:
        """Whether every request needs a session."""
        return super().has_credentials() or bool(self.oidc_issuer)

    def client_secret(self) -> str:
        """The client's secret; empty when none is configured."""
        return _secret("OIDC_CLIENT_SECRET", self.oidc_client_secret, self.oidc_client_secret_file)

    def signing_key(self) -> OKPKey | None:
        """The key that the console signs with."""
        text = _secret("CONSOLE_KEY", self.console_key, self.console_key_file)
        try:
            return parse_private_key(text) if text else None
        except ValueError as error:
            raise ValueError(f"TOUCHLINE_CONSOLE_KEY: {error}") from None

    def claim_rules(self) -> ClaimRules:
        """What the provider's claims mean."""
        claims = tuple(filter(None, map(str.strip, self.oidc_roles_claim.split(","))))
        return ClaimRules(parse_roles(self.oidc_roles), self.oidc_name_claim.strip(), claims)


def _secret(name: str, value: SecretStr, file: Path | None) -> str:
    """A secret that is given as it is or by a file.

    Raises:
        ValueError: both are given, or the file has none.
    """
    text = value.get_secret_value()
    if file is None:
        return text
    if text:
        raise ValueError(f"TOUCHLINE_{name} and TOUCHLINE_{name}_FILE are both set: leave one of them unset")
    try:
        text = file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"TOUCHLINE_{name}_FILE={file}: the file can't be read: {reason}") from None
    why = empty_secret(text)
    if why is not None:
        raise ValueError(f"TOUCHLINE_{name}_FILE={file}: the secret in it {why}")
    return text
