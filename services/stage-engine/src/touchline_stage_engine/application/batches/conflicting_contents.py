"""Touchpoints with one (source, id) and different contents, which several keys of one customer have brought.

The smallest content counts. The others are kept as copies, so that the smallest of them is restored when the key that
brought the counting one is withdrawn because it belongs to another customer.
"""

from collections.abc import Iterable

from touchline_stage_engine.core.decoding import Arrival, content_digest


def content(arrival: Arrival) -> tuple[int, bytes]:
    """What decides between two contents: the smaller stays."""
    digest = content_digest(arrival.touchpoint, arrival.key, arrival.identifiers)
    return (arrival.touchpoint.occurred_at, digest)


class ConflictingContents:
    """One batch's withdrawals and copies. Withdrawals are looked up before the batch writes, and written first."""

    def __init__(self) -> None:
        self.withdrawn: dict[tuple[str, str], None] = {}
        """(customer, alias): everything the alias has transferred to the customer is deleted."""
        self.deleted: set[tuple[int, str]] = set()
        """(hash, customer) of the stored touchpoints that are deleted with them."""
        self.copies: dict[tuple[str, int, str], Arrival] = {}
        """(customer, hash, key) → the smallest content that the key has brought."""

    def withdraw(self, customer_id: str, alias: str) -> None:
        """Delete everything an alias has transferred to a customer until now."""
        self.withdrawn[customer_id, alias] = None

    def note(self, customer_id: str, arrivals: Iterable[Arrival]) -> None:
        """Keep copies of contents that claim to be the same touchpoint of a customer."""
        for arrival in arrivals:
            key = (customer_id, arrival.hash, arrival.key)
            if (known := self.copies.get(key)) is None or content(arrival) < content(known):
                self.copies[key] = arrival

    def is_deleted(self, hash_: int, customer_id: str) -> bool:
        """Whether a stored touchpoint is one of those that are withdrawn."""
        return (hash_, customer_id) in self.deleted
