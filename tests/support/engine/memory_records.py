"""What the in-memory topics of the engine's tests hold, and the keys that their random touchpoints name."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Record:
    """A record of a topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp: int = 0


IDENTIFIERS: list[dict[str, str]] = [
    {"customer_id": "c1"},
    {"customer_id": "c2"},
    {"anonymous_id": "a"},
    {"anonymous_id": "b"},
    {"email": "x@example.org"},
    {"customer_id": "c1", "anonymous_id": "a"},
    {"customer_id": "c2", "anonymous_id": "a"},
    {"customer_id": "c2", "anonymous_id": "b"},
    {"customer_id": "c3", "email": "x@example.org"},
    {"anonymous_id": "b", "email": "x@example.org"},
]
"""Identifiers of touchpoints whose keys link to each other: two known customers meet over a device and an address."""
