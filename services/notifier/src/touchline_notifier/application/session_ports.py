"""What a reader's session needs: a consumer of touchpoints and facts, and publishers of the outboxes."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, NamedTuple, Protocol

from touchline_notifier.application.ports import DecisionStore, PartitionLease

Topic = Literal["touchpoints", "facts"]
"""The two topics that a session reads. Partition n of both belongs to the same process."""


class Record(Protocol):
    """A record of a topic."""

    @property
    def topic(self) -> str:
        """Full name."""

    @property
    def partition(self) -> int:
        """Partition."""

    @property
    def offset(self) -> int:
        """Offset."""

    @property
    def key(self) -> bytes | None:
        """Key."""

    @property
    def value(self) -> bytes | None:
        """Value."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]:
        """Headers."""


class AssignmentListener(Protocol):
    """What a session does when partitions come and go."""

    async def revoked(self) -> None:
        """All partitions are given up. A consumer revokes all of them before each new assignment."""

    async def assigned(self, partitions: Sequence[int]) -> None:
        """These partitions are read from now on."""

    def failed(self, error: Exception) -> None:
        """What was assigned can't be read: the session has to end."""


class Fetched(NamedTuple):
    """Records by partition."""

    touchpoints: Mapping[int, Sequence[Record]]
    facts: Mapping[int, Sequence[Record]]


class RecordConsumer(Protocol):
    """A member of the notifiers' consumer group."""

    @property
    def topic_names(self) -> Mapping[Topic, str]:
        """Full names of the topics."""

    async def start(self, listener: AssignmentListener) -> None:
        """Join the group; waits while Kafka is away."""

    async def fetch(self, at_most: int) -> Fetched:
        """The next records, after a short wait when there are none."""

    async def seek(self, leases: Collection[PartitionLease]) -> None:
        """Read partitions on from where their leases say, or from the nearest offsets that exist; none is paused."""

    async def position(self, topic: Topic, partition: int) -> int:
        """The next offset to read. It is past transaction markers, which are no records."""

    async def end_offsets(self, topic: Topic, partitions: Iterable[int]) -> dict[int, int]:
        """Where partitions end now."""

    def pause(self, partition: int) -> None:
        """Fetch no more facts of a partition."""

    def resume(self, partition: int) -> None:
        """Fetch facts of a partition again."""

    async def commit(self, offsets: Mapping[tuple[Topic, int], int]) -> None:
        """Commit offsets for displays. Errors are ignored: the offsets that count are in the database."""

    async def stop(self) -> None:
        """Leave the group, within some seconds."""


class OutboxPublisher(Protocol):
    """Publishes one partition's outbox."""

    async def publish(self) -> int:
        """Publish everything that is committed, in order and once; how many records."""

    async def close(self) -> None:
        """Stop, within some seconds."""


class SessionResources(NamedTuple):
    """The connections of one session."""

    store: DecisionStore
    consumer: RecordConsumer
    publisher: Callable[[PartitionLease], OutboxPublisher]


OpenSession = Callable[[], AbstractAsyncContextManager[SessionResources]]
"""Connects to PostgreSQL and prepares a consumer. Leaving the context ends the connections at once."""


class SessionFault(NamedTuple):
    """Why a session ended.

    Attributes:
        kind: passing (a server is away: retry soon), blocked (permanent), failed (unforeseen).
        text: the error, with what to do about it.
        retry_seconds: when to start the next session.
    """

    kind: Literal["passing", "blocked", "failed"]
    text: str
    retry_seconds: float


Diagnose = Callable[[BaseException], SessionFault]
