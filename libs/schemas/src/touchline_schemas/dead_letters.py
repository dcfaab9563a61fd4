"""Dead letters: the original bytes and headers of what could not be understood, and why."""

from collections.abc import Iterable

from touchline_schemas.cloudevents import Headers

REASON = "reason"
ERROR = "error"
ORIGIN = "origin"
TRUNCATED = "truncated"
MAX_VALUE = 900_000
"""Bytes of a value that are kept: below the broker's default limit for a record, with room for its headers."""


def kafka_origin(topic: str, partition: int, offset: int) -> str:
    """Where a record was: ``topic/partition/offset``."""
    return f"{topic}/{partition}/{offset}"


def dead_letter(
    value: bytes, headers: Iterable[tuple[str, bytes]], *, reason: str, error: str, origin: str
) -> tuple[bytes, Headers]:
    """Value and headers of the dead letter of a record or request body.

    Args:
        reason: a short constant (``not_json``, ``invalid_touchpoint``, …) to filter by.
        error: the whole message, for a person.
        origin: ``topic/partition/offset``, or the endpoint it was posted to.
    """
    kept: Headers = [(name, content) for name, content in headers if name not in (REASON, ERROR, ORIGIN, TRUNCATED)]
    kept += [(REASON, reason.encode()), (ERROR, error[:4000].encode()), (ORIGIN, origin.encode())]
    if len(value) > MAX_VALUE:
        kept.append((TRUNCATED, b"true"))
        value = value[:MAX_VALUE]
    return value, kept
