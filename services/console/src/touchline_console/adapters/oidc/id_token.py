"""ID tokens: the checks of OpenID Connect Core 1.0, section 3.1.3.7. Pure: keys and time are arguments."""

import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from authlib.oidc.core import CodeIDToken
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key

ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA",
)  # fmt: skip
"""Signatures by a key pair alone: with ``none`` and HMAC anybody who knows what is public could sign."""
LEEWAY = 60
"""How far, in seconds, the clocks of the two machines may be apart."""
_MOST = 200_000

Key = RSAKey | ECKey | OKPKey


class IdTokenError(ValueError):
    """The token does not count; the text says why."""


class UnknownKeyError(IdTokenError):
    """No known key has the id that the token names: the provider may have a new one."""


@dataclass(frozen=True)
class Expected:
    """What a token has to say."""

    issuer: str
    client_id: str
    nonce: str
    access_token: str


def read_keys(key_set: Any) -> tuple[Key, ...]:
    """The keys of a JWK set (RFC 7517) that can check signatures. Others are left out, as section 5 asks."""
    found = []
    listed = key_set.get("keys") if isinstance(key_set, dict) else None
    for one in listed if isinstance(listed, list) else ():
        try:
            if isinstance(one, dict) and one.get("use", "sig") == "sig":
                key = import_key(one)
                if isinstance(key, RSAKey | ECKey | OKPKey):
                    found.append(key)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    return tuple(found)


def read_id_token(
    text: object, keys: Iterable[Key], expected: Expected, now: float, algorithms: Sequence[str] = ALGORITHMS
) -> dict[str, Any]:
    """The claims of a token that the provider made for this sign-in.

    Args:
        algorithms: those that the provider says it uses; of these only the ones of ALGORITHMS count.

    Raises:
        IdTokenError: it is none; UnknownKeyError where other keys may help.
    """
    if not isinstance(text, str) or len(text) > _MOST or not text.isascii() or text.count(".") != 2:
        raise IdTokenError("it is no signed token")
    try:
        header, claims = _signed(text, tuple(keys), [one for one in ALGORITHMS if one in algorithms])
        _check(claims, expected, now)
        token = CodeIDToken(
            claims,
            header,
            {"iss": {"essential": True, "value": expected.issuer}, "sub": {"essential": True}},
            {"nonce": expected.nonce, "client_id": expected.client_id, "access_token": expected.access_token},
        )
        token.validate(now=int(now), leeway=LEEWAY)
    except IdTokenError:
        raise
    except JoseError as error:
        raise IdTokenError(f"{error.error}: {error.description or 'not valid'}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise IdTokenError(f"it is malformed ({type(error).__name__})") from None
    return claims


def _signed(text: str, keys: Sequence[Key], algorithms: list[str]) -> tuple[Mapping[str, Any], dict[str, Any]]:
    header = jws.extract_compact(text.encode()).headers()
    if header.get("alg") not in algorithms:
        raise IdTokenError(f"its algorithm {str(header.get('alg'))[:20]!r} is not one of {', '.join(algorithms)}")
    kid = header.get("kid")
    known = [key for key in keys if kid is None or key.kid == kid]
    if not known:
        raise UnknownKeyError("no published key of the identity provider has the id that it names")
    for key in known:
        try:
            payload = jws.deserialize_compact(text, key, algorithms=algorithms).payload
        except (JoseError, ValueError, TypeError):
            continue
        claims = json.loads(payload)
        if not isinstance(claims, dict):
            raise IdTokenError("it has no claims")
        return header, claims
    raise IdTokenError("no key of the identity provider signed it")


def _check(claims: Mapping[str, Any], expected: Expected, now: float) -> None:
    """What the library leaves open: types, who it is for, and the nonce that must be there."""
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(audiences, list) or not all(isinstance(one, str) for one in audiences):
        raise IdTokenError("it does not say whom it is for")
    if expected.client_id not in audiences:
        raise IdTokenError("it is for another client")
    if (len(audiences) > 1 or "azp" in claims) and claims.get("azp") != expected.client_id:
        raise IdTokenError("it was issued to another client")
    if claims.get("iss") != expected.issuer:
        raise IdTokenError("it is of another issuer")
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode("utf-8", "replace"), expected.nonce.encode()):
        raise IdTokenError("it is not of this sign-in: its nonce is another one")
    if not isinstance(claims.get("sub"), str) or not claims["sub"]:
        raise IdTokenError("it does not say who signed in")
    for name in ("iat", "exp"):
        if isinstance(claims.get(name), bool) or not isinstance(claims.get(name), int | float):
            raise IdTokenError(f"its {name} is no time")
    if not claims["exp"] > now - LEEWAY or not claims["iat"] <= now + LEEWAY:
        raise IdTokenError("it is not good now: compare the clock of this machine with the identity provider's")
