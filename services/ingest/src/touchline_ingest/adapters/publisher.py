"""The way to Kafka, as the doors see it: hand records over, learn which of them are acknowledged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from touchline_runtime.errors import Unavailable
from touchline_schemas.topics import Topic

from touchline_ingest.core.records import Record


class Overloaded(Unavailable):
    """Too much is waiting for Kafka already; nothing of this was taken."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of the records that were handed over together.

    Attributes:
        unacknowledged: indices of those that Kafka did not acknowledge in time. Some may be stored all the same: send
            them again under the same ids.
        reason: why, for a person; empty when all were acknowledged.
    """

    unacknowledged: frozenset[int] = frozenset()
    reason: str = ""

    @property
    def complete(self) -> bool:
        """Whether Kafka has acknowledged all of them."""
        return not self.unacknowledged


class Publisher(Protocol):
    """Publishes records; those of one key stay in the order in which they were handed over."""

    async def publish(self, topic: Topic, records: Sequence[Record]) -> Delivery:
        """Hand records over and wait for Kafka's acknowledgement (acks=all) of each.

        Raises:
            Overloaded: too much is in flight; nothing was taken.
        """

    async def check(self) -> None:
        """Health: return when Kafka answers.

        Raises:
            Unavailable: it does not.
        """
