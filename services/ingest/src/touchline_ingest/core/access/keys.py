"""Write keys: how they are hashed and compared. Only hashes are stored."""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

PREFIX = "tl_"
"""Prefix of keys created by ``touchline-ingest keys new``, so that a leaked key can be found by searching."""


@dataclass(frozen=True, slots=True)
class KeyHash:
    """One key of a source.

    Attributes:
        sha256: lower-case hex.
        until: when it becomes invalid (the old key during a rotation); None: never.
    """

    sha256: str
    until: datetime | None = None

    def in_force(self, now: datetime) -> bool:
        """Whether the key is still valid."""
        return self.until is None or now < self.until


def key_hash(key: str) -> str:
    """The SHA-256 of a key, in hex."""
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def key_end(written: str) -> datetime:
    """When a key becomes invalid, as the sources file says it: a day or a time, in UTC where it names no zone.

    Raises:
        ValueError: it is neither.
    """
    moment = datetime.fromisoformat(written)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def is_valid(presented_hash: str, keys: Iterable[KeyHash], now: datetime) -> bool:
    """Whether one of the keys is the presented one and in force, in constant time."""
    found = False
    for key in keys:
        found |= hmac.compare_digest(presented_hash, key.sha256) and key.in_force(now)
    return found
