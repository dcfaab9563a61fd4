"""How much a request may hold."""

from dataclasses import dataclass
from datetime import timedelta

MAX_TOUCHPOINT_BYTES = 32 * 1024
"""Of one touchpoint's JSON as it is published."""

MAX_AHEAD = timedelta(minutes=5)
"""How far ahead of our clock a touchpoint may have occurred; clocks differ by less."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one request.

    Attributes:
        body_bytes: of a body, compressed or not.
        items: touchpoints in one request.
        touchpoint_bytes: of one touchpoint as JSON.
    """

    body_bytes: int = 5_000_000
    items: int = 10_000
    touchpoint_bytes: int = MAX_TOUCHPOINT_BYTES
