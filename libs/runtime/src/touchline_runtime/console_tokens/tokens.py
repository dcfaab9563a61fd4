"""Console tokens: a JWT (RFC 7519) that the console signs for each request of a person who signed in by OpenID Connect.

::

    {"iss": "touchline-console", "aud": "engine", "sub": "ada@example.org", "role": "editor", "iat": …, "exp": …}

It is good for one service and for two minutes. The service takes name and role from it alone: nothing else that a
request says of itself counts. In audit logs and logs the name begins with ``oidc:``, and no configured token may have
such a name, so that nobody signs in under the name of a token.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from touchline_runtime.console_tokens.names import is_name
from touchline_runtime.http.tokens import PERSON_PREFIX, ROLES, Token

ISSUER = "touchline-console"
INGEST, ENGINE, NOTIFIER = "ingest", "engine", "notifier"
"""Whom a token is for."""
SECONDS = 120
"""How long a token is good for."""
LEEWAY = 60
"""How far, in seconds, the clocks of two machines may be apart."""
_MOST = 4_000
_ALGORITHM = "Ed25519"

Clock = Callable[[], float]


class ConsoleTokenError(ValueError):
    """It is no console token that counts here; the text says why, and what to do."""


class ConsoleSigner:
    """Signs tokens for people. The console alone has one."""

    def __init__(self, key: OKPKey, *, clock: Clock = time.time) -> None:
        self._key = key
        self._clock = clock

    def token(self, name: str, role: str, audience: str) -> str:
        """A token of a person for one service."""
        now = int(self._clock())
        claims = {"iss": ISSUER, "aud": audience, "sub": name, "role": role, "iat": now, "exp": now + SECONDS}
        header = {"alg": _ALGORITHM, "typ": "JWT"}
        return jws.serialize_compact(header, orjson.dumps(claims), self._key, algorithms=[_ALGORITHM])


class ConsoleVerifier:
    """Checks tokens for one service.

    Args:
        keys: public keys of the console; any of them may have signed.
        audience: the service.
    """

    def __init__(self, keys: Sequence[OKPKey], audience: str, *, clock: Clock = time.time) -> None:
        self._keys = tuple(keys)
        self._audience = audience
        self._clock = clock

    def verify(self, presented: str) -> Token:
        """The person and their role.

        Raises:
            ConsoleTokenError: it is not such a token, or none that counts here now.
        """
        claims = self._signed(presented)
        name, role = claims.get("sub"), claims.get("role")
        if claims.get("iss") != ISSUER or claims.get("aud") != self._audience:
            raise ConsoleTokenError(f"this console token is not for {self._audience}")
        issued, expires = _time(claims, "iat"), _time(claims, "exp")
        now = self._clock()
        if expires > issued + SECONDS or issued > now + LEEWAY or expires <= now - LEEWAY:
            raise ConsoleTokenError("this console token is not good now: compare the clocks of the two machines")
        if not isinstance(name, str) or not is_name(name) or not isinstance(role, str) or role not in ROLES:
            raise ConsoleTokenError("this console token names no person with a role")
        return Token(PERSON_PREFIX + name, ROLES[role], "")

    def _signed(self, presented: str) -> dict[str, Any]:
        """The claims of a token that one of the keys signed."""
        if presented.count(".") != 2 or len(presented) > _MOST or not presented.isascii():
            raise ConsoleTokenError("it is no console token")
        for key in self._keys:
            try:
                signed = jws.deserialize_compact(presented, key, algorithms=[_ALGORITHM])
                claims = orjson.loads(signed.payload)
            except (JoseError, ValueError, TypeError):
                continue
            if isinstance(claims, dict):
                return claims
        raise ConsoleTokenError(
            "none of TOUCHLINE_CONSOLE_PUBLIC_KEYS signed it: give this service the public half of the console's key"
        )


def _time(claims: dict[str, Any], name: str) -> int:
    value = claims.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConsoleTokenError(f"this console token has no {name}")
    return value
