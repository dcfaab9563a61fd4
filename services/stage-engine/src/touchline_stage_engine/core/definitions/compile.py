"""Compile a definition for folding: for each stage and type of touchpoint, the rules that the type can concern.

Targets are resolved for each stage. A rule without a target there, or whose target is the stage itself, is left out:
it does not hold, and the next rule is tried. `folding.counting` defines what a rule counts and when it holds.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from touchline_schemas.definitions.durations import describe_duration, parse_duration
from touchline_schemas.touchpoint_types import PASSIVE_TYPES

from touchline_stage_engine.core.definitions.model import (
    ANY_TYPE,
    FIRST,
    NEXT,
    PREVIOUS,
    Condition,
    Definition,
    Rule,
    Stage,
)
from touchline_stage_engine.core.folding.counting import (
    Counters,
    Holds,
    Part,
    matcher,
    one_condition,
    several_conditions,
)
from touchline_stage_engine.core.folding.facts import ADVANCE, REGRESS, RENEW

NEVER = 1 << 62
"""A due time in the far future: no timer is due."""

OFF_PATH = -1
"""The position of a stage that is off the path."""


class Step(NamedTuple):
    """One rule, with its target resolved for one stage."""

    holds: Holds
    target: "CompiledStage"
    reason: str


@dataclass(slots=True, eq=False)
class CompiledStage:
    """A stage, ready to fold. Durations are microseconds."""

    name: str
    label: str
    version: int
    position: int
    passive: frozenset[str]
    steps: dict[str, tuple[Step, ...]] = field(default_factory=dict)
    """Rules by type of touchpoint, in the order they are tried."""
    other_steps: tuple[Step, ...] = ()
    """Rules for a type that no rule names."""
    fresh: Counters = field(default_factory=list)
    """The counters when the stage is entered."""
    stalls: tuple[int, ...] = ()
    """Time without activity until stall level 1, 2, …"""
    lapse_after: int = NEVER
    lapse_to: "CompiledStage | None" = None
    lapse_text: str = ""
    waits: tuple[int, ...] = (NEVER,)
    """Time from the last activity (or stage entry) to the next timer, by open stall level (0: none)."""

    @property
    def on_path(self) -> bool:
        """Whether the stage is on the path."""
        return self.position != OFF_PATH


@dataclass(slots=True, eq=False)
class CompiledLifecycle:
    """One version of a lifecycle, ready to fold."""

    name: str
    version: int
    cyclic: bool
    on_change: str
    stages: dict[str, CompiledStage]
    first: CompiledStage
    last: CompiledStage

    def kind_of(self, from_stage: str, to_stage: str) -> str:
        """The kind of a move between two stages, by their order."""
        source, target = self.stages.get(from_stage), self.stages.get(to_stage)
        if target is not None and target.position == OFF_PATH:
            return REGRESS
        if source is None or target is None or source.position == OFF_PATH:
            return ADVANCE
        if self.cyclic and source is self.last and target is self.first:
            return RENEW
        return ADVANCE if target.position > source.position else REGRESS


def resolve_target(definition: Definition, stage: str, to: str) -> str | None:
    """The stage that `to` means in `stage`; None when there is none, or when it is the stage itself."""
    path = [item.name for item in definition.stages]
    position = path.index(stage) if stage in path else OFF_PATH
    target: str | None = to
    if to == FIRST:
        target = path[0]
    elif to == NEXT:
        if position == OFF_PATH:
            target = None
        elif position + 1 < len(path):
            target = path[position + 1]
        else:
            target = path[0] if definition.cyclic else None
    elif to == PREVIOUS:
        target = path[position - 1] if position > 0 else None
    return None if target == stage else target


def default_reason(conditions: Iterable[Condition]) -> str:
    """The reason of a rule without a `reason`: its conditions in words."""
    texts = []
    for condition in conditions:
        text = "any touchpoint" if ANY_TYPE in condition.when else " or ".join(condition.when)
        if condition.count > 1:
            text = f"{condition.count} times {text}"
        if condition.within is not None:
            text += f" within {condition.within}"
        texts.append(text)
    return " and ".join(texts)


class _StageCompiler:
    """Collects one stage's rules by type, and assigns their counters."""

    def __init__(self, stage: CompiledStage) -> None:
        self.stage = stage
        self.rules: list[tuple[list[Condition], list[Part], CompiledStage, str]] = []

    def add(self, rule: Rule, target: CompiledStage) -> None:
        conditions = rule.conditions
        alone = len(conditions) == 1
        parts = [self._part(condition, needs_counter=not alone or condition.count > 1) for condition in conditions]
        self.rules.append((conditions, parts, target, rule.reason or default_reason(conditions)))

    def _part(self, condition: Condition, needs_counter: bool) -> Part:
        within = None if condition.within is None else parse_duration(condition.within)
        if needs_counter:
            self.stage.fresh.append(0 if within is None else None)
        return Part(matcher(condition), len(self.stage.fresh) - 1, condition.count, within)

    def finish(self) -> None:
        named = {name for conditions, *_ in self.rules for condition in conditions for name in condition.when}
        for name in named - {ANY_TYPE}:
            self.stage.steps[name] = self._steps(name)
        self.stage.other_steps = self._steps(ANY_TYPE)

    def _steps(self, name: str) -> tuple[Step, ...]:
        steps = []
        for conditions, parts, target, reason in self.rules:
            concerned = [
                part
                for condition, part in zip(conditions, parts, strict=True)
                if name in condition.when or ANY_TYPE in condition.when
            ]
            if concerned:
                holds = one_condition(parts[0]) if len(parts) == 1 else several_conditions(concerned, parts)
                steps.append(Step(holds, target, reason))
        return tuple(steps)


def _set_timers(
    definition: Definition, written: Stage, stage: CompiledStage, by_name: dict[str, CompiledStage]
) -> None:
    if written.stall is not None:
        stage.stalls = tuple(parse_duration(text) for text in written.stall.levels)
    if written.lapse is not None:
        target = resolve_target(definition, written.name, written.lapse.to)
        if target is None:
            raise ValueError(f"the lapse of {written.name!r} has no target")
        stage.lapse_after = parse_duration(written.lapse.after)
        stage.lapse_to = by_name[target]
        stage.lapse_text = f"no activity for {describe_duration(stage.lapse_after)}"
    stage.waits = tuple(min(after, stage.lapse_after) for after in (*stage.stalls, NEVER))


def compile_definition(definition: Definition) -> CompiledLifecycle:
    """Compile a definition that has passed `checks`. An unknown stage raises KeyError."""
    passive = PASSIVE_TYPES | frozenset(definition.passive)
    order = {stage.name: position for position, stage in enumerate(definition.stages)}
    stages = {
        stage.name: CompiledStage(stage.name, stage.label, definition.version, order.get(stage.name, OFF_PATH), passive)
        for stage in definition.every_stage
    }
    for written in definition.every_stage:
        stage = stages[written.name]
        _set_timers(definition, written, stage, stages)
        compiler = _StageCompiler(stage)
        for rule in (*definition.rules, *written.rules):
            target = resolve_target(definition, written.name, rule.to)
            if target is not None:
                compiler.add(rule, stages[target])
        compiler.finish()
    return CompiledLifecycle(
        name=definition.lifecycle,
        version=definition.version,
        cyclic=definition.cyclic,
        on_change=definition.on_change,
        stages=stages,
        first=stages[definition.stages[0].name],
        last=stages[definition.stages[-1].name],
    )
