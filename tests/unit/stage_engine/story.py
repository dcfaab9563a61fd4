"""Tells a customer's life to a built-in lifecycle, day by day."""

from typing import Any

from touchline_schemas.durations import DAY
from touchline_schemas.touchpoint_types import meaning_of
from touchline_stage_engine import builtin
from touchline_stage_engine.core.compile import compile_definition
from touchline_stage_engine.core.facts import Fact, Move, Recovery, Stall
from touchline_stage_engine.core.fold import Fold
from touchline_stage_engine.core.reading import read_definition
from touchline_stage_engine.core.state import StageState
from touchline_stage_engine.core.timeline import Timeline
from touchline_stage_engine.core.touchpoint import Touchpoint


class Story:
    """One customer in one built-in. Days count from the beginning of the story."""

    def __init__(self, lifecycle: str) -> None:
        definition = read_definition(builtin.text_of(lifecycle), builtin.file_of(lifecycle))
        self.lifecycle = lifecycle
        self.fold = Fold(Timeline.of(compile_definition(definition)))
        self.state: StageState | None = None
        self.facts: list[Fact] = []
        self._told = 0

    def on(self, day: float, *types: str, source: str = "company", **properties: Any) -> "Story":
        """These touchpoints happen on that day, one after the other."""
        for place, kind in enumerate(types):
            meaning = meaning_of(kind)
            at = int(day * DAY) + place
            touchpoint = Touchpoint(
                at, f"{day}-{place}", source, kind, meaning.channel, meaning.direction, properties, received_at=at
            )
            self.state = self.fold.fold(self.state, touchpoint, self.facts)
        return self

    def until(self, day: float) -> "Story":
        """Nothing happens until that day."""
        if self.state is not None:
            self.fold.fire(self.state, int(day * DAY), self.facts)
        return self

    @property
    def stage(self) -> str | None:
        """Where the customer is."""
        return None if self.state is None else self.state.stage.name

    @property
    def stalled(self) -> int:
        """The open stall's level."""
        return 0 if self.state is None else self.state.level

    def since_last(self) -> list[str]:
        """What has become known since it was last asked, in short."""
        told, self._told = self.facts[self._told :], len(self.facts)
        return [_brief(fact) for fact in told]


def _brief(fact: Fact) -> str:
    if isinstance(fact, Move):
        return f"{fact.kind} {fact.to_stage}: {fact.reason_text}"
    if isinstance(fact, Stall):
        return f"stalled in {fact.stage}, level {fact.level}"
    assert isinstance(fact, Recovery)
    return f"recovered in {fact.stage}"
