"""Outcomes of touchpoints that were read and not folded, stored so that the sender can query them."""

from typing import Literal, NamedTuple, TypeAlias

import orjson
from touchline_schemas.touchpoint import Touchpoint

from touchline_stage_engine.core.decoding import Poison, touchpoint_hash

Outcome: TypeAlias = Literal["duplicate", "conflict", "refused", "erased"]

_FIELDS = frozenset(Touchpoint.model_fields)


class NotedOutcome(NamedTuple):
    """How often an outcome occurred; of a refusal, the reason, the contract's fields at fault, and the record."""

    times: int
    reason: str | None
    fields: str | None
    origin: str | None


class Outcomes:
    """One batch's outcomes, by the hash of (source, id)."""

    def __init__(self) -> None:
        self.noted: dict[tuple[int, Outcome], NotedOutcome] = {}

    def note(self, hash_: int, outcome: Outcome, poison: Poison | None = None, origin: str | None = None) -> None:
        """Count an outcome; of a refusal, note why, and in which record."""
        before = self.noted.get((hash_, outcome))
        times = 1 if before is None else before.times + 1
        reason, fields = (None, None) if poison is None else (poison.reason, fields_at_fault(poison.error))
        self.noted[hash_, outcome] = NotedOutcome(times, reason, fields, origin)

    def refuse(self, value: bytes | None, poison: Poison, origin: str) -> None:
        """Note that a record became a dead letter, if it names its touchpoint."""
        try:
            data = orjson.loads(value or b"")
        except orjson.JSONDecodeError:
            return
        if isinstance(data, dict):
            source, id_ = data.get("source"), data.get("id")
            if isinstance(source, str) and isinstance(id_, str):
                self.note(touchpoint_hash(source, id_), "refused", poison, origin)


def fields_at_fault(error: str) -> str | None:
    """The contract's fields that an error (``field: words; field: words``) names, and nothing else of it.

    The words may repeat what the sender wrote, such as an address, and these rows are kept after an erasure.
    """
    named = (part.partition(":")[0].partition(".")[0].strip() for part in error.split(";"))
    return ", ".join(dict.fromkeys(name for name in named if name in _FIELDS)) or None
