"""API tokens: who may read the query APIs and pages."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable

from fastapi import Request

from touchline_runtime.problems import Problem


def matches(presented: str, hashes: frozenset[str]) -> bool:
    """Whether the SHA-256 of what was presented is among the hashes; takes the same time whichever it is."""
    digest = hashlib.sha256(presented.encode()).hexdigest()
    found = False
    for known in hashes:
        found |= hmac.compare_digest(digest, known)
    return found


def require_token(hashes: frozenset[str]) -> Callable[[Request], Awaitable[None]]:
    """A FastAPI dependency that lets a request pass with ``Authorization: Bearer TOKEN`` of a configured token.

    Browsers may send the token as the password of HTTP Basic. Without configured tokens everybody passes (the
    process then listens on loopback alone: see ``ServiceSettings``).
    """

    async def check(request: Request) -> None:
        if not hashes:
            return
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        token = ""
        if scheme.lower() == "bearer":
            token = credentials.strip()
        elif scheme.lower() == "basic":
            token = _basic_password(credentials)
        if not token or not matches(token, hashes):
            raise Problem(
                401,
                "this needs one of the tokens of TOUCHLINE_API_TOKENS: Authorization: Bearer TOKEN",
                type="unauthorized",
                headers={"WWW-Authenticate": 'Basic realm="touchline"'},
            )

    return check


def _basic_password(credentials: str) -> str:
    import base64
    import binascii

    try:
        user, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return password or user
