"""What the use cases need of the outside world. Adapters implement these protocols; ``bootstrap`` connects the two."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from touchline_runtime.errors import Unavailable
from touchline_schemas.topics import Topic

from touchline_ingest.core.history.dead_letter_replay import DeadLetter
from touchline_ingest.core.history.rows import Progress, Row
from touchline_ingest.core.touchpoints.records import Record

MOST_RECENT = 2000
"""How many of the newest dead letters :meth:`DeadLetters.recent` returns at most."""


class Overloaded(Unavailable):
    """Too much is in progress already; nothing of this request was accepted."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The result of publishing several records at once.

    Attributes:
        unacknowledged: indices of the records that Kafka did not acknowledge in time. Kafka may have stored them all
            the same: send them again under the same ids.
        reason: why, for a person; empty when all were acknowledged.
    """

    unacknowledged: frozenset[int] = frozenset()
    reason: str = ""

    @property
    def complete(self) -> bool:
        """Whether Kafka has acknowledged every record."""
        return not self.unacknowledged


class Publisher(Protocol):
    """Publishes records. Records with the same key keep their order."""

    async def publish(self, topic: Topic, records: Sequence[Record]) -> Delivery:
        """Publish records and wait for Kafka's acknowledgement (acks=all) of each.

        Raises:
            Overloaded: too many records are in flight; none of these was accepted.
        """

    async def check(self) -> None:
        """Health check: return when Kafka answers.

        Raises:
            Unavailable: Kafka does not answer.
        """


class Fetcher(Protocol):
    """Fetches what a source asks for. The source has checked the host already."""

    async def certificate(self, url: str) -> bytes:
        """The certificate at a URL; cached.

        Raises:
            Unavailable: it can't be fetched now.
        """

    async def get(self, url: str) -> bytes:
        """The body at a URL.

        Raises:
            Unavailable: it can't be fetched now.
        """


@dataclass(frozen=True)
class RecentDeadLetters:
    """The newest dead letters, newest first.

    Attributes:
        total: dead letters on the topic.
        last_day: dead letters written in the last 24 hours.
    """

    items: tuple[DeadLetter, ...]
    total: int
    last_day: int


class DeadLetters(Protocol):
    """Reads the dead-letters topic."""

    async def recent(self) -> RecentDeadLetters:
        """The newest dead letters, at most a few seconds old.

        Raises:
            Unavailable: Kafka does not answer.
        """

    async def get(self, partition: int, offset: int) -> DeadLetter | None:
        """One dead letter, or None.

        Raises:
            Unavailable: Kafka does not answer.
        """

    def read_all(self) -> AsyncIterator[DeadLetter]:
        """Every dead letter, by partition and offset.

        Raises:
            Unavailable: no broker answered within the start-up time.
        """


class History(Protocol):
    """A file of historical touchpoints."""

    @property
    def format(self) -> str:
        """``csv`` or ``ndjson``."""

    def rows(self, *, after: int = 0, line: int = 0) -> Iterator[Row]:
        """The rows that begin at or after a byte position; ``line`` lines come before it."""


class ProgressStore(Protocol):
    """Remembers how far an import has come."""

    def advance(self, progress: Progress) -> None:
        """Save the progress, with a fingerprint of the file's content up to it."""


class ImportReport(Protocol):
    """Shows an import's progress to a person."""

    def rejected(self, row: Row, error: str) -> None:
        """A row was rejected."""

    def looks_misspelt(self, type_name: str, meant: str) -> None:
        """An accepted type looks like a standard one that it is not; told once a type."""

    def advanced(self, progress: Progress) -> None:
        """A batch was judged and, unless this is a dry run, acknowledged."""

    def retrying(self, reason: str, attempt: int, attempts: int) -> None:
        """Kafka did not acknowledge a batch; it is published again in a moment."""


class SourcesDocument(Protocol):
    """The text of a sources file."""

    def read(self) -> str:
        """The text; empty where a missing file is to be created.

        Raises:
            ConfigurationError: the file can't be read.
        """

    def replace(self, text: str) -> None:
        """Replace the text atomically, so that a running service never reads half of it.

        Raises:
            ConfigurationError: the file can't be written.
        """
