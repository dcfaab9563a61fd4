"""Dead letters: the original bytes and headers of what could not be understood, and why."""

from collections.abc import Iterable

from touchline_schemas.cloudevents import Headers

REASON = "reason"
ERROR = "error"
ORIGIN = "origin"
TRUNCATED = "truncated"
MAX_VALUE = 900_000
"""Bytes of a value that are kept: below the broker's default limit for a record, with room for its headers."""


MAX_HEADERS = 60_000
"""Bytes of the original headers that are kept."""
_LENGTHS = 8
"""Bytes that the lengths of a header's name and value take beside them, at most."""


def _plain(text: str) -> bytes:
    return text.replace("\x00", "\\x00").encode(errors="backslashreplace")


def kafka_origin(topic: str, partition: int, offset: int) -> str:
    """Where a record was: ``topic/partition/offset``."""
    return f"{topic}/{partition}/{offset}"


def dead_letter(
    value: bytes, headers: Iterable[tuple[str, bytes | None]], *, reason: str, error: str, origin: str
) -> tuple[bytes, Headers]:
    """Value and headers of the dead letter of a record or request body.

    Args:
        headers: the original ones. Kafka allows a header without a value; it is kept with an empty one.
        reason: a short constant (``not_json``, ``invalid_touchpoint``, …) to filter by.
        error: the whole message, for a person.
        origin: ``topic/partition/offset``, or the endpoint it was posted to.
    """
    kept: Headers = []
    room, truncated = MAX_HEADERS, len(value) > MAX_VALUE
    for name, given in headers:
        content = given or b""
        if name in (REASON, ERROR, ORIGIN, TRUNCATED):
            continue
        room -= len(name.encode()) + len(content) + _LENGTHS
        if room < 0:
            truncated = True
            break
        kept.append((name, content))
    kept += [(REASON, reason.encode()), (ERROR, _plain(error[:4000])), (ORIGIN, origin.encode())]
    if truncated:
        kept.append((TRUNCATED, b"true"))
        value = value[:MAX_VALUE]
    return value, kept
