"""The ``Authorization`` header of HTTP (RFC 9110 §11.6.2): Bearer tokens (RFC 6750) and Basic credentials (RFC 7617).

Pure: a header's text in, credentials out. Every reader and writer of the header uses this module, so that a request
means the same everywhere.
"""

import base64
import binascii
from typing import NamedTuple


class Basic(NamedTuple):
    """Basic credentials."""

    user: str
    password: str


def bearer_token(authorization: str) -> str | None:
    """The token of ``Bearer TOKEN``; None when there is none."""
    scheme, _, credentials = authorization.strip().partition(" ")
    return (credentials.strip() or None) if scheme.lower() == "bearer" else None


def basic_text(authorization: str) -> str | None:
    """``user:password`` of ``Basic base64(user:password)``; None when the header is none, or is malformed.

    Some senders leave the colon out where the password is empty.
    """
    scheme, _, credentials = authorization.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    text = credentials.strip()
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None


def basic_credentials(authorization: str) -> Basic | None:
    """User and password of ``Basic base64(user:password)``; None when the header is none, or is malformed."""
    text = basic_text(authorization)
    if text is None:
        return None
    user, _, password = text.partition(":")
    return Basic(user, password)


def presented_key(authorization: str) -> str | None:
    """The one key of a header: a Bearer token, or Basic with the key as the user (``KEY:``) or as the password."""
    token = bearer_token(authorization)
    if token is not None:
        return token
    basic = basic_credentials(authorization)
    return (basic.user or basic.password or None) if basic else None


def presented_token(authorization: str) -> str | None:
    """An API token of a header: a Bearer token, or Basic with the token as the password (any user) or as the user.

    Browsers ask people for a user and a password; a token is the password then.
    """
    token = bearer_token(authorization)
    if token is not None:
        return token
    basic = basic_credentials(authorization)
    return (basic.password or basic.user or None) if basic else None


def basic_authorization(text: str) -> str:
    """The header's value for ``user:password``."""
    return "Basic " + base64.b64encode(text.encode()).decode()
