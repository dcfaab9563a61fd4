"""An OpenID provider over HTTP: discovery, keys, the token endpoint, userinfo and sign-out."""

import json
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import structlog
from authlib.deprecate import AuthlibDeprecationWarning

from touchline_console.adapters.oidc.id_token import (
    ALGORITHMS,
    Expected,
    IdTokenError,
    Key,
    UnknownKeyError,
    read_id_token,
    read_keys,
)
from touchline_console.application.access.by_provider import Identity, ProviderFault, SignInRejected, Transaction

with warnings.catch_warnings():
    # It prefers a fork of httpx. Everything here uses httpx, and so does this.
    warnings.simplefilter("ignore", AuthlibDeprecationWarning)
    from authlib.integrations.base_client import OAuthError
    from authlib.integrations.httpx_client import AsyncOAuth2Client

log = structlog.get_logger(__name__)

_KEPT_SECONDS = 3_600.0
_ANSWERED_SECONDS = 5.0
"""How long ago the provider must have answered for a browser to be sent there."""
_NEEDED = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class OpenIdProvider:
    """Implements ``application.access.by_provider.IdentityProvider``.

    Nothing is asked before the first sign-in, so that a provider that is away keeps nothing from starting. What it
    publishes of itself is kept for an hour, and longer while it is away.
    """

    def __init__(
        self,
        issuer: str,
        client_id: str,
        client_secret: str,
        scopes: str,
        console_url: str,
        *,
        seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.issuer = issuer
        self._client_id = client_id
        self._client_secret = client_secret
        self._scopes = scopes
        self._console_url = console_url.rstrip("/")
        self._clock = clock
        # Proxies and authorities of the environment count: the provider may be outside.
        self._timeout = httpx.Timeout(seconds)
        self._http = httpx.AsyncClient(timeout=self._timeout, follow_redirects=False)
        self._metadata: dict[str, Any] = {}
        self._metadata_at = float("-inf")
        self._keys: tuple[Key, ...] = ()
        self._keys_at = float("-inf")

    @property
    def redirect_uri(self) -> str:
        """Where the provider sends browsers back to."""
        return f"{self._console_url}/sign-in/callback"

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def authorization_address(self, transaction: Transaction, *, again: bool) -> str:
        """Where the browser is sent to: to a provider that answers, since a browser would show its own error."""
        metadata = await self._described(_ANSWERED_SECONDS)
        more = {"prompt": "login"} if again else {}
        async with self._client(metadata) as client:
            address, _ = client.create_authorization_url(
                metadata["authorization_endpoint"],
                state=transaction.state,
                nonce=transaction.nonce,
                code_verifier=transaction.verifier,
                **more,
            )
        return str(address)

    async def needs_issuer(self) -> bool:
        """Whether it says that its answers name it."""
        return (await self._described()).get("authorization_response_iss_parameter_supported") is True

    async def identity(self, code: str, transaction: Transaction) -> Identity:
        """Exchange the code for an ID token, and check that."""
        metadata = await self._described()
        answer = await self._exchanged(metadata, code, transaction)
        text, access_token = answer.get("id_token"), answer.get("access_token")
        access_token = access_token if isinstance(access_token, str) else ""
        expected = Expected(self.issuer, self._client_id, transaction.nonce, access_token)
        try:
            claims = await self._read(metadata, text, expected)
        except IdTokenError as error:
            log.warning("id_token_rejected", issuer=self.issuer, reason=str(error))
            raise SignInRejected(f"The identity provider's answer does not count: {error}.") from None
        return Identity(claims, str(text), access_token)

    async def more_claims(self, identity: Identity) -> Mapping[str, Any]:
        """What the userinfo endpoint says of the same person."""
        address = (await self._described()).get("userinfo_endpoint")
        if not self._is_usable(address):
            return {}
        found = await self._json(str(address), {"Authorization": f"Bearer {identity.access_token}"})
        return found if found.get("sub") == identity.claims.get("sub") else {}

    async def sign_out_address(self, id_token: str) -> str | None:
        """Where the browser signs out of the provider too (RP-Initiated Logout 1.0)."""
        try:
            address = (await self._described()).get("end_session_endpoint")
        except ProviderFault:
            return None
        if not self._is_usable(address):
            return None
        parameters = {
            "id_token_hint": id_token,
            "client_id": self._client_id,
            "post_logout_redirect_uri": f"{self._console_url}/sign-in",
        }
        return f"{address}{'&' if urlsplit(str(address)).query else '?'}{urlencode(parameters)}"

    def _client(self, metadata: Mapping[str, Any]) -> Any:
        supported = metadata.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        method = "client_secret_basic" if "client_secret_basic" in supported else "client_secret_post"
        return AsyncOAuth2Client(
            client_id=self._client_id,
            client_secret=self._client_secret,
            token_endpoint_auth_method=method,
            scope=self._scopes,
            redirect_uri=self.redirect_uri,
            code_challenge_method="S256",
            timeout=self._timeout,
        )

    async def _exchanged(self, metadata: Mapping[str, Any], code: str, transaction: Transaction) -> Mapping[str, Any]:
        try:
            async with self._client(metadata) as client:
                answer = await client.fetch_token(
                    metadata["token_endpoint"],
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=transaction.verifier,
                )
        except OAuthError as error:
            log.warning("code_rejected", issuer=self.issuer, error=str(error.error))
            if error.error == "invalid_grant":
                raise SignInRejected("The code was used, or is too old. Sign in again.") from None
            raise ProviderFault(
                f"{self.issuer} rejects this console ({str(error.error)[:100]}): compare TOUCHLINE_OIDC_CLIENT_ID, the "
                f"client's secret, and the redirect address {self.redirect_uri} with the client there"
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise self._away(error) from None
        return answer if isinstance(answer, dict) else {}

    async def _read(self, metadata: Mapping[str, Any], text: Any, expected: Expected) -> dict[str, Any]:
        algorithms = metadata.get("id_token_signing_alg_values_supported")
        allowed = ALGORITHMS if not isinstance(algorithms, list) else [one for one in ALGORITHMS if one in algorithms]
        try:
            return read_id_token(text, await self._published_keys(metadata), expected, self._clock(), allowed)
        except UnknownKeyError:
            # It has a new key, and this copy is from before.
            keys = await self._published_keys(metadata, fresh=True)
            return read_id_token(text, keys, expected, self._clock(), allowed)

    async def _published_keys(self, metadata: Mapping[str, Any], *, fresh: bool = False) -> tuple[Key, ...]:
        if fresh or time.monotonic() - self._keys_at > _KEPT_SECONDS:
            self._keys = read_keys(await self._json(metadata["jwks_uri"]))
            self._keys_at = time.monotonic()
        return self._keys

    async def _described(self, kept: float = _KEPT_SECONDS) -> dict[str, Any]:
        """What the provider publishes of itself (OpenID Connect Discovery 1.0), asked again after ``kept`` seconds."""
        if time.monotonic() - self._metadata_at <= kept:
            return self._metadata
        try:
            found = await self._json(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
        except ProviderFault:
            if self._metadata and kept == _KEPT_SECONDS:
                return self._metadata
            raise
        if found.get("issuer") != self.issuer:
            raise ProviderFault(
                f"{self.issuer} calls itself {str(found.get('issuer'))[:200]!r}: set TOUCHLINE_OIDC_ISSUER to that"
            )
        for name in _NEEDED:
            if not self._is_usable(found.get(name)):
                raise ProviderFault(f"{self.issuer} publishes no usable {name}")
        self._metadata, self._metadata_at = found, time.monotonic()
        return found

    def _is_usable(self, address: object) -> bool:
        """An endpoint is as well protected as the issuer."""
        return isinstance(address, str) and address.startswith(("https://", f"{urlsplit(self.issuer).scheme}://"))

    async def _json(self, address: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        try:
            answer = await self._http.get(address, headers={"Accept": "application/json", **(headers or {})})
            answer.raise_for_status()
            found = json.loads(answer.content)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise self._away(error) from None
        if not isinstance(found, dict):
            raise ProviderFault(f"{self.issuer} answered something that is no JSON object")
        return found

    def _away(self, error: Exception) -> ProviderFault:
        said = str(error).partition("\n")[0][:200] or type(error).__name__
        log.warning("identity_provider_away", issuer=self.issuer, error=said)
        return ProviderFault(f"{self.issuer} does not answer as an identity provider: {said}")
