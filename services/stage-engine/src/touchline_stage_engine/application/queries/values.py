"""Values that queries take and return. Times are microseconds since the epoch."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from touchline_stage_engine.core.definitions.model import Definition

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000
MAX_TOP_CUSTOMERS = 1000


class BadCursorError(ValueError):
    """A cursor that the list did not issue."""


class BadStreamPositionError(ValueError):
    """A text that is not a position in the stream of stage changes."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some items of a list, and the cursor of the next page (None on the last page)."""

    items: list[dict[str, Any]]
    next: str | None

    def to_json(self) -> dict[str, Any]:
        """The response body."""
        return {"items": self.items, "next": self.next}


class RunningLifecycle(NamedTuple):
    """The newest running version of a lifecycle. ``effective_from`` None: in force from the beginning."""

    definition: Definition
    text: str
    effective_from: int | None
    started_at: int
    managed_by: str = "file"


@dataclass(frozen=True)
class AnalysisFilter:
    """A span of event time, and the channel and source of a customer's first touchpoint; None means no filter."""

    since: int | None = None
    until: int | None = None
    channel: str | None = None
    source: str | None = None


class StreamPosition:
    """A position in the stream of stage changes: the next offset of each partition, as text ``0:17,3:2``."""

    def __init__(self, offsets: dict[int, int]) -> None:
        self.offsets = offsets

    @classmethod
    def parse(cls, text: str) -> "StreamPosition":
        """The position that a text names.

        Raises:
            BadStreamPositionError: the text is not a position.
        """
        try:
            pairs = [part.split(":") for part in text.split(",")]
            offsets = {int(partition): int(offset) for partition, offset in pairs}
        except ValueError:
            raise BadStreamPositionError(f"{text!r} is not the id of an event of this stream") from None
        if any(not 0 <= number < 1 << 62 for pair in offsets.items() for number in pair):
            raise BadStreamPositionError(f"{text!r} is not the id of an event of this stream")
        return cls(offsets)

    def __str__(self) -> str:
        return ",".join(f"{partition}:{offset}" for partition, offset in sorted(self.offsets.items()))


@dataclass(frozen=True, slots=True)
class StageChangeEvent:
    """A published fact: CloudEvent id and type, data as JSON, and the stream position after it."""

    id: str
    type: str
    data: bytes
    customer_id: str
    lifecycle: str | None
    position: str


@dataclass(frozen=True)
class KnownKey:
    """Whether a key has a row, and when it was erased before (None: never)."""

    stored: bool
    erased_at: int | None


@dataclass(frozen=True)
class ErasureProgress:
    """How far an erasure has progressed.

    Attributes:
        keys: keys of the customer that are erased so far, aliases included.
        complete: whether all keys of the customer are erased.
        removed: table → number of removed rows.
        erased_at: touchpoints from before this instant are removed; None before the first key.
    """

    keys: int
    complete: bool
    removed: dict[str, int]
    erased_at: int | None
