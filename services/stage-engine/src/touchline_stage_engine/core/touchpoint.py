"""A touchpoint as it is folded: one thing that a customer did, or that the company did towards them.

Every time in the core is an int: microseconds since the epoch, UTC. The values have passed the contract's checks.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

Order: TypeAlias = tuple[int, str, str]
"""(occurred_at, id, source); strings by code point, as Python and `COLLATE "C"` compare them."""


@dataclass(slots=True)
class Touchpoint:
    """A touchpoint; `occurred_at` and `received_at` in microseconds since the epoch.

    It is never changed. It is not frozen because building a frozen dataclass takes three times as long.
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
        """The sort key among one customer's touchpoints."""
        return (self.occurred_at, self.id, self.source)
