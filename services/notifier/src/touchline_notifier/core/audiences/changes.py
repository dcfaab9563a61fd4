"""Changes of membership of audiences, as the stage engine publishes them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class MembershipChange:
    """A customer entered an audience, or left it.

    Attributes:
        type: its ``ce_type``.
        data: the JSON it came as.
        trace: its ``traceparent``; empty when it has none.
    """

    type: str
    ce_id: str
    customer_id: str
    audience: str
    entered: bool
    at: datetime
    data: dict[str, Any]
    trace: str = ""


def latest(changes: Iterable[MembershipChange]) -> list[MembershipChange]:
    """The last change of each customer in each audience; those of one customer come in their order."""
    found = {(change.customer_id, change.audience): change for change in changes}
    return list(found.values())
