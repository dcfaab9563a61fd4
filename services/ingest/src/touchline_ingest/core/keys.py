"""Write keys: how they are presented, hashed and compared. Only hashes are ever stored."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

PREFIX = "tl_"
"""What keys made by ``touchline-ingest keys new`` begin with, so that a leaked one can be found by searching."""


@dataclass(frozen=True, slots=True)
class KeyHash:
    """One key that opens a source.

    Attributes:
        sha256: lower-case hex.
        until: from then on it opens nothing (the old key while rotating); None: for good.
    """

    sha256: str
    until: datetime | None = None

    def in_force(self, now: datetime) -> bool:
        """Whether the key still opens."""
        return self.until is None or now < self.until


def key_hash(key: str) -> str:
    """The SHA-256 of a key, in hex."""
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def key_end(written: str) -> datetime:
    """From when on a key opens nothing, as the sources file says it: a day or a time, UTC where it names no zone.

    Raises:
        ValueError: it is neither.
    """
    moment = datetime.fromisoformat(written)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def presented_key(authorization: str) -> str | None:
    """The key in an Authorization header: ``Bearer KEY``, or Basic with the key as the user (``KEY:``) or password."""
    scheme, _, credentials = authorization.partition(" ")
    scheme = scheme.lower()
    if scheme == "bearer":
        return credentials.strip() or None
    if scheme == "basic":
        try:
            user, _, password = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return None
        return user or password or None
    return None


def opens(presented_hash: str, keys: Iterable[KeyHash], now: datetime) -> bool:
    """Whether one of the keys is the presented one and in force; takes as long whichever it is."""
    found = False
    for key in keys:
        found |= hmac.compare_digest(presented_hash, key.sha256) and key.in_force(now)
    return found
