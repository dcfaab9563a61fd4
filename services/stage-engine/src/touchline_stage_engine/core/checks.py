"""What `check` refuses: definitions of the right shape that have no sound meaning.

Names that name nothing; times that cannot be kept (stall levels that don't rise, a lapse to nowhere, lapses that chase
one another in less than a day); rules that can never hold. Lengths and numbers are seen to by the shape already.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from touchline_runtime.places import Fault, Path, Places
from touchline_schemas.durations import DAY, describe_duration, parse_duration
from touchline_schemas.touchpoint_types import NOTIFIER_SOURCE, STAGE_SET

from touchline_stage_engine.core.compile import resolve_target
from touchline_stage_engine.core.definition import (
    FIRST,
    NEXT,
    PREVIOUS,
    RELATIVE_TARGETS,
    Condition,
    Definition,
    Rule,
    Stage,
)
from touchline_stage_engine.core.satisfiable import fault_of
from touchline_stage_engine.core.where import FIELDS, PROPERTIES


def check(definition: Definition, places: Places | None = None) -> list[Fault]:
    """Everything in a definition that has no sound meaning; an empty list: it may run."""
    faults = _Checker(definition, places or Places(definition.lifecycle)).faults()
    return sorted(faults, key=lambda fault: fault.line or 0)


class _Checker:
    def __init__(self, definition: Definition, places: Places) -> None:
        self.definition = definition
        self.fault = places.fault
        self.names = list(dict.fromkeys(stage.name for stage in definition.every_stage))

    def faults(self) -> Iterator[Fault]:
        yield from self._names()
        for path, rule, stage in self._rules():
            yield from self._rule(path, rule, stage)
        for path, stage in self._stages():
            yield from self._stall(path, stage)
            yield from self._lapse(path, stage)
        yield from self._lapse_cycles()

    def _stages(self) -> Iterator[tuple[Path, Stage]]:
        for key, stages in (("stages", self.definition.stages), ("off_path", self.definition.off_path)):
            for place, stage in enumerate(stages):
                yield (key, place), stage

    def _rules(self) -> Iterator[tuple[Path, Rule, Stage | None]]:
        for place, rule in enumerate(self.definition.rules):
            yield ("rules", place), rule, None
        for path, stage in self._stages():
            for place, rule in enumerate(stage.rules):
                yield (*path, "rules", place), rule, stage

    def _names(self) -> Iterator[Fault]:
        seen: set[str] = set()
        for path, stage in self._stages():
            at = (*path, "name")
            if stage.name in RELATIVE_TARGETS:
                yield self.fault(at, f"{stage.name!r} has a meaning of its own in `to`", "write another name")
            if stage.name in seen:
                yield self.fault(at, f"{stage.name!r} is the name of two stages", "write another name")
            seen.add(stage.name)

    def _known(self, path: Path, to: str) -> Iterator[Fault]:
        if to not in self.names and to not in RELATIVE_TARGETS:
            known = ", ".join((*self.names, *RELATIVE_TARGETS))
            yield self.fault(path, f"there is no stage {to!r}", f"write one of {known}")

    # Rules

    def _rule(self, path: Path, rule: Rule, stage: Stage | None) -> Iterator[Fault]:
        yield from self._form(path, rule)
        yield from self._target(path, rule, stage)
        if rule.all_ is not None:
            for place, condition in enumerate(rule.all_):
                yield from self._condition((*path, "all", place), condition)
        elif rule.when is not None:
            yield from self._condition(path, rule.conditions[0])

    def _form(self, path: Path, rule: Rule) -> Iterator[Fault]:
        if rule.all_ is None:
            if rule.when is None:
                yield self.fault(path, "has neither `when` nor `all`", 'add when: [a_type], or when: "*"')
            return
        for key in ("when", "channel", "direction", "where", "count", "within"):
            if key in rule.model_fields_set:
                yield self.fault(
                    (*path, key), "stands beside `all`, where it says nothing", "move it into the conditions of `all`"
                )

    def _target(self, path: Path, rule: Rule, stage: Stage | None) -> Iterator[Fault]:
        at = (*path, "to")
        unknown = list(self._known(at, rule.to))
        yield from unknown
        if unknown:
            return
        if stage is None:
            if not any(resolve_target(self.definition, name, rule.to) for name in self.names):
                yield self.fault(at, "leads nowhere from any stage: the rule can never hold", "leave the rule out")
        elif resolve_target(self.definition, stage.name, rule.to) is None:
            yield self.fault(at, f"the rule can never hold: {self._why_nowhere(stage, rule.to)}", self._other(stage))

    def _condition(self, path: Path, condition: Condition) -> Iterator[Fault]:
        if all(name == STAGE_SET for name in condition.when):
            yield self.fault(
                (*path, "when"), "the rule can never hold: a manual move counts for no rule", "write another type"
            )
        for where, operators in condition.where.items():
            at = (*path, "where", where)
            root, *keys = where.split(".")
            if root == PROPERTIES and not keys:
                yield self.fault(at, "names no property", "write properties.name")
                continue
            if not all(keys) or root not in (*FIELDS, PROPERTIES) or (root in FIELDS and keys):
                instead = f"write properties.{where} (only {', '.join(FIELDS)} stand by themselves)"
                yield self.fault(at, f"a touchpoint has no {where!r}", instead)
                continue
            fault = fault_of(operators.given())
            if fault is not None:
                yield self.fault(at, *fault)
            elif root == "source" and operators.given().get("eq") == NOTIFIER_SOURCE:
                yield self.fault(
                    at, "the rule can never hold: what the notifier reports triggers none", "write another source"
                )

    # Times

    def _stall(self, path: Path, stage: Stage) -> Iterator[Fault]:
        if stage.stall is None:
            return
        levels = [parse_duration(text) for text in stage.stall.levels]
        for place, (shorter, longer) in enumerate(pairwise(levels)):
            if longer <= shorter:
                yield self.fault(
                    (*path, "stall", "then", place),
                    f"level {place + 2} does not come after level {place + 1}: all are counted from the same start",
                    f"write more than {describe_duration(shorter)}",
                )

    def _lapse(self, path: Path, stage: Stage) -> Iterator[Fault]:
        if stage.lapse is None:
            return
        at = (*path, "lapse", "to")
        unknown = list(self._known(at, stage.lapse.to))
        yield from unknown
        if not unknown and resolve_target(self.definition, stage.name, stage.lapse.to) is None:
            yield self.fault(at, f"a lapse to nowhere: {self._why_nowhere(stage, stage.lapse.to)}", self._other(stage))

    def _lapse_cycles(self) -> Iterator[Fault]:
        """Stages that lapse round in a circle: time alone would move a customer without end, so it must be slow."""
        lapses: dict[str, tuple[str, int, Path]] = {}
        for path, stage in self._stages():
            if stage.lapse is not None and (to := resolve_target(self.definition, stage.name, stage.lapse.to)):
                lapses.setdefault(stage.name, (to, parse_duration(stage.lapse.after), (*path, "lapse", "after")))
        told: set[str] = set()
        for start in lapses:
            circle = _circle_through(start, {name: to for name, (to, _, _) in lapses.items()})
            if not circle or told.intersection(circle):
                continue
            told.update(circle)
            total = sum(lapses[name][1] for name in circle)
            if total < DAY:
                yield self.fault(
                    lapses[start][2],
                    f"lapses go round in {describe_duration(total)} ({' → '.join((*circle, start))})",
                    "write durations that make a day or more in all",
                )

    # Words

    def _why_nowhere(self, stage: Stage, to: str) -> str:
        path = [one.name for one in self.definition.stages]
        if to in (NEXT, PREVIOUS) and stage.name not in path:
            return f"{stage.name!r} is off the path and has no {to} stage"
        if to == NEXT and len(path) > 1:
            return f"{stage.name!r} is the last stage of a lifecycle that is not cyclic"
        if to == PREVIOUS:
            return f"{stage.name!r} is the first stage"
        if to == FIRST:
            return f"{stage.name!r} is the first stage itself"
        return f"{to!r} is the stage itself"

    def _other(self, stage: Stage) -> str:
        others = [name for name in self.names if name != stage.name]
        return f"write one of {', '.join(others)}" if others else "leave it out: there is no other stage"


def _circle_through(start: str, targets: dict[str, str]) -> Sequence[str]:
    """The stages of the circle that `start` is part of, from it on; empty when it is part of none."""
    circle = [start]
    here = targets.get(start)
    while here is not None and here not in circle:
        circle.append(here)
        here = targets.get(here)
    return circle if here == start else ()
