"""Values that the use cases and the adapters exchange."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from touchline_stage_engine.core.touchpoint import Order

READ_AT_ONCE = 2000
"""Touchpoints of a customer in one read: between reads the event loop runs other tasks."""


@dataclass(frozen=True)
class PartitionKey:
    """Which partition of which topics: a position is valid only on the same cluster and topic ids."""

    cluster_id: str
    topic_id: str
    identity_topic_id: str
    partition: int


@dataclass
class Position:
    """How far a partition has been folded and published. Offsets are of the next records to read."""

    epoch: int
    touchpoints: int
    identity: int
    last_outbox_id: int
    published_through: int
    rebuilds: int
    generation: int
    era: int = 0


class Records(NamedTuple):
    """The records of one poll, from the touchpoints topic and from the identity topic, each in offset order."""

    touchpoints: list[Any]
    identity: list[Any]

    @property
    def positions_after(self) -> tuple[int | None, int | None]:
        """The positions on both topics once these records are folded; None: unchanged."""
        touchpoints, identity = self
        return (
            touchpoints[-1].offset + 1 if touchpoints else None,
            identity[-1].offset + 1 if identity else None,
        )


class CheckpointSpan(NamedTuple):
    """Checkpoints of a customer between two places in the order, both excluded; ``before`` None: to the end."""

    customer_id: str
    after: Order
    before: Order | None


class HistoryCut(NamedTuple):
    """Facts to delete: after the first ``kept``, up to number ``through`` (None: to the end)."""

    customer_id: str
    lifecycle: str
    kept: int
    through: int | None


class TouchpointRange(NamedTuple):
    """A customer's touchpoints after one place in the order and up to another."""

    customer_id: str
    after: Order
    through: Order


class LinkingTouchpoint(NamedTuple):
    """The other keys that a stored touchpoint names. ``identifiers`` is JSON text; times are in microseconds."""

    occurred_at: int
    id: str
    source: str
    identifiers: str
    received_at: int
    previous_id: str | None


class ErasureRecord(NamedTuple):
    """What is remembered of an erased key: when (microseconds), the incarnation since, merges published."""

    erased_at: int
    incarnation: int
    merges: int


class ErasureReceipt(NamedTuple):
    """The result of one key's erasure under a receipt (a UUID). ``removed``: table → deleted rows."""

    receipt: str
    key_hash: bytes
    asked: int
    erased_at: int
    done_at: int
    removed: Mapping[str, int]


FILE, BUILTIN, PUBLISHED = "file", "builtin", "published"
"""Where a version of a lifecycle comes from: a folder, the package, or the API."""


class StoredDefinition(NamedTuple):
    """A version of a lifecycle as it was recorded when it first ran.

    Attributes:
        effective_from: event time (microseconds); None: from the beginning, or in an insertion the default.
        origin: FILE, BUILTIN or PUBLISHED.
        numbered: the author wrote the version's number; False: it was assigned when the text was published.
        author, comment: of a published version.
    """

    name: str
    version: int
    fingerprint: str
    text: str
    effective_from: int | None
    origin: str = FILE
    running: bool = True
    numbered: bool = True
    author: str | None = None
    comment: str | None = None


class RunningVersion(NamedTuple):
    """A running version, without its text."""

    name: str
    version: int
    effective_from: int | None
    origin: str
