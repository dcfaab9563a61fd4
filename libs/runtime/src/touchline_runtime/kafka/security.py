"""TLS and OAuth for Kafka connections."""

import asyncio
import functools
import ssl
import time
from typing import Any

import httpx
from aiokafka.abc import AbstractTokenProvider

from touchline_runtime.config.settings import ServiceSettings
from touchline_runtime.errors import ConfigurationError, Unavailable

_TIMEOUT_SECONDS = 10.0
_DEFAULT_LIFETIME_SECONDS = 300.0


def tls_context(settings: ServiceSettings) -> ssl.SSLContext:
    """A context that checks the broker's certificate and host name, and shows ours where one is configured.

    Raises:
        ConfigurationError: a PEM file can't be read or does not hold what it should.
    """
    name, path = "TOUCHLINE_KAFKA_CA_FILE", settings.kafka_ca_file
    try:
        context = ssl.create_default_context(cafile=str(path) if path else None)
        if settings.kafka_cert_file:
            name, path = "TOUCHLINE_KAFKA_CERT_FILE", settings.kafka_cert_file
            password = settings.kafka_key_password
            context.load_cert_chain(
                settings.kafka_cert_file,
                settings.kafka_key_file,
                # A function would be asked on the terminal; an empty password fails instead.
                password.get_secret_value() if password else "",
            )
    except (OSError, ssl.SSLError) as error:
        key = f" (key: {settings.kafka_key_file})" if settings.kafka_key_file else ""
        raise ConfigurationError(f"{name}={path}{key} can't be used: {error}") from None
    return context


@functools.lru_cache(maxsize=8)
def token_provider(settings: ServiceSettings) -> AbstractTokenProvider:
    """The provider of OAuth tokens: one for all clients of a process, so that they share a token.

    Raises:
        ConfigurationError: a setting of the client credentials grant is missing.
    """
    settings.need("kafka_oauth_token_url", "kafka_oauth_client_id", "kafka_oauth_client_secret")
    return _ClientCredentials(settings)


class _ClientCredentials(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka ships no types
    """Tokens by the client credentials grant (RFC 6749, section 4.4), fetched again after 80 % of their lifetime."""

    def __init__(self, settings: ServiceSettings) -> None:
        assert settings.kafka_oauth_client_secret is not None, "need() checked it"
        self._url = settings.kafka_oauth_token_url
        self._credentials = httpx.BasicAuth(
            settings.kafka_oauth_client_id or "", settings.kafka_oauth_client_secret.get_secret_value()
        )
        self._form = {"grant_type": "client_credentials"}
        if settings.kafka_oauth_scope:
            self._form["scope"] = settings.kafka_oauth_scope
        self._lock = asyncio.Lock()
        self._token = ""
        self._renew_at = 0.0

    async def token(self) -> str:
        """A token that has not expired.

        Raises:
            Unavailable: the authorization server gave none.
        """
        async with self._lock:
            if time.monotonic() >= self._renew_at:
                answer = await self._fetch()
                self._token = str(answer["access_token"])
                lifetime = float(answer.get("expires_in", _DEFAULT_LIFETIME_SECONDS))
                self._renew_at = time.monotonic() + 0.8 * lifetime
            return self._token

    async def _fetch(self) -> dict[str, Any]:
        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False) as client:
                response = await client.post(self._url, data=self._form, auth=self._credentials)
                answer = response.raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(f"no token from TOUCHLINE_KAFKA_OAUTH_TOKEN_URL={self._url}: {error}") from None
        if not isinstance(answer, dict) or not answer.get("access_token"):
            raise Unavailable(f"no access_token in the answer of TOUCHLINE_KAFKA_OAUTH_TOKEN_URL={self._url}")
        return answer
