"""Tells a customer's life to a built-in lifecycle, day by day."""

from typing import Any

from touchline_schemas.definitions.durations import DAY
from touchline_schemas.touchpoint_types import meaning_of
from touchline_stage_engine import builtin
from touchline_stage_engine.core.definitions.compile import compile_definition
from touchline_stage_engine.core.definitions.parse import read_definition
from touchline_stage_engine.core.definitions.timeline import Timeline
from touchline_stage_engine.core.folding.facts import Fact, Move, Recovery, Stall
from touchline_stage_engine.core.folding.fold import Fold
from touchline_stage_engine.core.folding.state import StageState
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
        for index, kind in enumerate(types):
            meaning = meaning_of(kind)
            at = int(day * DAY) + index
            touchpoint = Touchpoint(
                at, f"{day}-{index}", source, kind, meaning.channel, meaning.direction, properties, received_at=at
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
        published, self._told = self.facts[self._told :], len(self.facts)
        return [_brief(fact) for fact in published]


def _brief(fact: Fact) -> str:
    if isinstance(fact, Move):
        return f"{fact.kind} {fact.to_stage}: {fact.reason_text}"
    if isinstance(fact, Stall):
        return f"stalled in {fact.stage}, level {fact.level}"
    assert isinstance(fact, Recovery)
    return f"recovered in {fact.stage}"
