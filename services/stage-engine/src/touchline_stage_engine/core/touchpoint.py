"""One thing a customer did, or the company did towards them, as the fold sees it.

Every time in the core is an int: microseconds since the epoch, UTC. Nothing here validates: the shell hands over only
what passed the contract's checks.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

Order: TypeAlias = tuple[int, str, str]
"""(occurred_at, id, source); strings by code point, as Python and `COLLATE "C"` compare them."""


@dataclass(slots=True)
class Touchpoint:
    """A touchpoint; `occurred_at` and `received_at` in microseconds since the epoch.

    Mutable only because a frozen dataclass costs three times as much to build on the hot path: nobody changes one.
    """

    occurred_at: int
    id: str
    source: str
    type: str
    channel: str
    direction: str
    properties: dict[str, Any]
    machine: bool = False
    backfill: bool = False
    received_at: int = 0

    @property
    def order(self) -> Order:
        """Where it sorts among one customer's touchpoints."""
        return (self.occurred_at, self.id, self.source)
