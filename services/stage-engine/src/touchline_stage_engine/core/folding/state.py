"""The state of one customer in one lifecycle: what folding the next touchpoint needs."""

from collections.abc import Sequence
from typing import Any

from touchline_stage_engine.core.definitions.compile import NEVER, CompiledStage
from touchline_stage_engine.core.definitions.timeline import Timeline
from touchline_stage_engine.core.folding.counting import Counters


class StageState:
    """The state of the fold after some touchpoints and timers. Times are microseconds since the epoch.

    Attributes:
        stage: the stage, in the version that applies to the customer.
        entered_at: when the stage was entered.
        base: the later of stage entry and the last activity; stalls and lapses count from it.
        base_received: when the touchpoint behind `base` was received.
        level: level of the open stall, 0 for none.
        due: when the next timer is due (`NEVER`: none).
        moves: number of moves so far, including the entry.
        counters: what the stage's rules have counted since entry.
    """

    __slots__ = ("base", "base_received", "counters", "due", "entered_at", "level", "moves", "stage")

    def __init__(
        self,
        stage: CompiledStage,
        entered_at: int,
        base: int,
        base_received: int,
        level: int = 0,
        moves: int = 1,
        counters: Counters | None = None,
    ) -> None:
        self.stage = stage
        self.entered_at = entered_at
        self.base = base
        self.base_received = base_received
        self.level = level
        self.due = base + stage.waits[level]
        self.moves = moves
        self.counters = stage.fresh.copy() if counters is None else counters

    @property
    def next_due(self) -> int | None:
        """When the next timer is due."""
        return None if self.due >= NEVER else self.due

    @property
    def settled_at(self) -> int:
        """The latest instant at which a timer or activity took effect: an earlier touchpoint is late."""
        return self.base + self.stage.stalls[self.level - 1] if self.level else self.base

    @property
    def stalled_at(self) -> int | None:
        """When the open stall began (the due time of its first level)."""
        return self.base + self.stage.stalls[0] if self.level else None

    def copy(self) -> "StageState":
        """An independent copy, for a checkpoint."""
        counters = [list(counter) if isinstance(counter, list) else counter for counter in self.counters]
        return StageState(self.stage, self.entered_at, self.base, self.base_received, self.level, self.moves, counters)

    def dump(self) -> list[Any]:
        """A small JSON value that `load` reads back."""
        stage = self.stage
        data: list[Any] = [
            stage.version,
            stage.name,
            self.entered_at,
            self.base - self.entered_at,
            self.base_received - self.base,
            self.level,
            self.moves,
        ]
        if self.counters != stage.fresh:
            data.append(self.counters)
        return data

    @classmethod
    def load(cls, data: Sequence[Any], timeline: Timeline) -> "StageState":
        """The state that `dump` wrote; UnknownVersionError when its version is no longer in force."""
        version, name, entered_at, base, received, level, moves, *rest = data
        counters = [list(counter) if isinstance(counter, list) else counter for counter in rest[0]] if rest else None
        base += entered_at
        return cls(timeline.stage(version, name), entered_at, base, base + received, level, moves, counters)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StageState) and self.dump() == other.dump()

    __hash__ = None  # type: ignore[assignment]  # it changes with every touchpoint

    def __repr__(self) -> str:
        return f"StageState({self.dump()})"
