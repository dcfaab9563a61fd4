"""The smallest lives and lifecycles in which a rule of the fold shows."""

from typing import Any

from touchline_schemas.definitions.durations import DAY
from touchline_stage_engine.core.definitions.compile import compile_definition
from touchline_stage_engine.core.definitions.parse import read_definition
from touchline_stage_engine.core.definitions.timeline import Timeline
from touchline_stage_engine.core.folding.facts import Fact, Move
from touchline_stage_engine.core.folding.fold import Fold
from touchline_stage_engine.core.folding.state import StageState
from touchline_stage_engine.core.touchpoint import Touchpoint

Line = tuple[float, str] | tuple[float, str, dict[str, Any]]


def fold_of(text: str) -> Fold:
    return Fold(Timeline.of(compile_definition(read_definition("lifecycle: shop\nversion: 1\n" + text, "shop.yaml"))))


def touchpoints(*lines: Line) -> list[Touchpoint]:
    """(day, type[, other fields]) one by one."""
    made = []
    for place, (day, kind, *rest) in enumerate(lines):
        fields: dict[str, Any] = {
            "source": "s", "channel": "web", "direction": "inbound", "properties": {}, "received_at": int(day * DAY),
        }  # fmt: skip
        fields.update(rest[0] if rest else {})
        made.append(Touchpoint(occurred_at=int(day * DAY), id=str(place), type=kind, **fields))
    return made


def lived(fold: Fold, *lines: Line, until: float = 0) -> tuple[StageState | None, list[Fact]]:
    return fold.refold(touchpoints(*lines), int(until * DAY))


def moves(facts: list[Fact]) -> list[str]:
    return [f"{fact.kind} {fact.to_stage}" for fact in facts if isinstance(fact, Move)]


def stage_after(fold: Fold, *lines: Line, until: float = 0) -> str | None:
    state, _ = lived(fold, *lines, until=until)
    return None if state is None else state.stage.name


THREE = "stages: [{name: a, rules: [{when: go, to: next}]}, {name: b, rules: [{when: go, to: next}]}, {name: c}]"
OUTBOUND = {"direction": "outbound"}


def by_hand(stage: str, lifecycle: str = "shop", **more: Any) -> dict[str, Any]:
    return {"properties": {"lifecycle": lifecycle, "stage": stage, **more}}
