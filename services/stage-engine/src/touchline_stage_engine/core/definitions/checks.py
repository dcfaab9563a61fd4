"""Check that a definition of the right shape can run.

Reported are unknown names, times that cannot work (stall levels that do not increase, a lapse without a target, lapses
that form a cycle of less than a day), and rules that can never hold. `model` has already checked lengths and numbers.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from touchline_runtime.yaml.positions import Fault, Path, SourcePositions
from touchline_schemas.definitions.durations import DAY, describe_duration, parse_duration
from touchline_schemas.touchpoint_types import STAGE_SET

from touchline_stage_engine.core.definitions.compile import resolve_target
from touchline_stage_engine.core.definitions.field_values import CHANNEL_SPELLING, TYPE_SPELLING, Spelling, why_never
from touchline_stage_engine.core.definitions.model import (
    ANY_TYPE,
    FIRST,
    NEXT,
    PREVIOUS,
    RELATIVE_TARGETS,
    Condition,
    Definition,
    Rule,
    Stage,
)
from touchline_stage_engine.core.definitions.satisfiability import fault_of
from touchline_stage_engine.core.definitions.where import FIELDS, PROPERTIES


def check(definition: Definition, positions: SourcePositions | None = None) -> list[Fault]:
    """Every fault of a definition, by line. A definition without faults may run."""
    faults = _Checker(definition, positions or SourcePositions(definition.lifecycle)).faults()
    return sorted(faults, key=lambda fault: fault.line or 0)


class _Checker:
    def __init__(self, definition: Definition, positions: SourcePositions) -> None:
        self.definition = definition
        self.fault = positions.fault
        self.names = list(dict.fromkeys(stage.name for stage in definition.every_stage))

    def faults(self) -> Iterator[Fault]:
        yield from self._names()
        yield from self._words(("passive",), self.definition.passive, TYPE_SPELLING)
        for path, rule, stage in self._rules():
            yield from self._rule(path, rule, stage)
        for path, stage in self._stages():
            yield from self._stall(path, stage)
            yield from self._lapse(path, stage)
        yield from self._lapse_cycles()

    def _stages(self) -> Iterator[tuple[Path, Stage]]:
        for key, stages in (("stages", self.definition.stages), ("off_path", self.definition.off_path)):
            for index, stage in enumerate(stages):
                yield (key, index), stage

    def _rules(self) -> Iterator[tuple[Path, Rule, Stage | None]]:
        for index, rule in enumerate(self.definition.rules):
            yield ("rules", index), rule, None
        for path, stage in self._stages():
            for index, rule in enumerate(stage.rules):
                yield (*path, "rules", index), rule, stage

    def _names(self) -> Iterator[Fault]:
        seen: set[str] = set()
        for path, stage in self._stages():
            at = (*path, "name")
            if stage.name in RELATIVE_TARGETS:
                yield self.fault(at, f"{stage.name!r} is a reserved word in `to`", "write another name")
            if stage.name in seen:
                yield self.fault(at, f"two stages have the name {stage.name!r}", "write another name")
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
            for index, condition in enumerate(rule.all_):
                yield from self._condition((*path, "all", index), condition)
        elif rule.when is not None:
            yield from self._condition(path, rule.conditions[0])

    def _form(self, path: Path, rule: Rule) -> Iterator[Fault]:
        if rule.all_ is None:
            if rule.when is None:
                yield self.fault(path, "has neither `when` nor `all`", 'add when: [a_type], or when: "*"')
            return
        for key in ("when", "channel", "direction", "where", "count", "within"):
            if key in rule.model_fields_set:
                yield self.fault((*path, key), "has no effect beside `all`", "move it into the conditions of `all`")

    def _target(self, path: Path, rule: Rule, stage: Stage | None) -> Iterator[Fault]:
        at = (*path, "to")
        unknown = list(self._known(at, rule.to))
        yield from unknown
        if unknown:
            return
        if stage is None:
            if not any(resolve_target(self.definition, name, rule.to) for name in self.names):
                yield self.fault(at, "has no target from any stage: the rule can never hold", "remove the rule")
        elif resolve_target(self.definition, stage.name, rule.to) is None:
            yield self.fault(at, f"the rule can never hold: {self._why_no_target(stage, rule.to)}", self._other(stage))

    def _condition(self, path: Path, condition: Condition) -> Iterator[Fault]:
        if all(name == STAGE_SET for name in condition.when):
            yield self.fault(
                (*path, "when"), "the rule can never hold: rules do not count manual moves", "write another type"
            )
        yield from self._words((*path, "when"), condition.when, TYPE_SPELLING)
        yield from self._words((*path, "channel"), condition.channel or (), CHANNEL_SPELLING)
        for where, operators in condition.where.items():
            at = (*path, "where", where)
            root, *keys = where.split(".")
            if root == PROPERTIES and not keys:
                yield self.fault(at, "does not name a property", "write properties.name")
                continue
            if not all(keys) or root not in (*FIELDS, PROPERTIES) or (root in FIELDS and keys):
                instead = f"write properties.{where} (the fields of a touchpoint are {', '.join(FIELDS)})"
                yield self.fault(at, f"a touchpoint has no {where!r}", instead)
                continue
            fault = fault_of(operators.given())
            if fault is not None:
                yield self.fault(at, *fault)
            elif root in FIELDS and (why := why_never(root, condition, operators.given())):
                yield self.fault(at, f"the rule can never hold: {why}", f"write another {root}, or remove it")

    def _words(self, path: Path, words: Sequence[str], spelling: Spelling) -> Iterator[Fault]:
        """Names that no touchpoint can have, because ingest refuses them."""
        for index, word in enumerate(words):
            if word == ANY_TYPE and spelling is TYPE_SPELLING:
                continue
            if not spelling.fullmatch(word):
                at = (*path, index) if len(words) > 1 else path
                yield self.fault(
                    at, f"the rule can never hold: no touchpoint has the {spelling.of} {word!r}", spelling.instead(word)
                )

    # Times

    def _stall(self, path: Path, stage: Stage) -> Iterator[Fault]:
        if stage.stall is None:
            return
        levels = [parse_duration(text) for text in stage.stall.levels]
        for index, (shorter, longer) in enumerate(pairwise(levels)):
            if longer <= shorter:
                yield self.fault(
                    (*path, "stall", "then", index),
                    f"level {index + 2} is not later than level {index + 1}: all levels count from the same start",
                    f"write more than {describe_duration(shorter)}",
                )

    def _lapse(self, path: Path, stage: Stage) -> Iterator[Fault]:
        if stage.lapse is None:
            return
        at = (*path, "lapse", "to")
        unknown = list(self._known(at, stage.lapse.to))
        yield from unknown
        if not unknown and resolve_target(self.definition, stage.name, stage.lapse.to) is None:
            yield self.fault(
                at, f"the lapse has no target: {self._why_no_target(stage, stage.lapse.to)}", self._other(stage)
            )

    def _lapse_cycles(self) -> Iterator[Fault]:
        """Lapses that form a cycle move a customer forever, so a cycle must take a day or more."""
        lapses: dict[str, tuple[str, int, Path]] = {}
        for path, stage in self._stages():
            if stage.lapse is not None and (to := resolve_target(self.definition, stage.name, stage.lapse.to)):
                lapses.setdefault(stage.name, (to, parse_duration(stage.lapse.after), (*path, "lapse", "after")))
        reported: set[str] = set()
        for start in lapses:
            cycle = _cycle_through(start, {name: to for name, (to, _, _) in lapses.items()})
            if not cycle or reported.intersection(cycle):
                continue
            reported.update(cycle)
            total = sum(lapses[name][1] for name in cycle)
            if total < DAY:
                yield self.fault(
                    lapses[start][2],
                    f"lapses form a cycle of {describe_duration(total)} ({' → '.join((*cycle, start))})",
                    "write durations that add up to a day or more",
                )

    # Messages

    def _why_no_target(self, stage: Stage, to: str) -> str:
        path = [item.name for item in self.definition.stages]
        if to in (NEXT, PREVIOUS) and stage.name not in path:
            return f"{stage.name!r} is off the path and has no {to} stage"
        if to == NEXT and len(path) > 1:
            return f"{stage.name!r} is the last stage, and the lifecycle is not cyclic"
        if to == PREVIOUS:
            return f"{stage.name!r} is the first stage"
        if to == FIRST:
            return f"{stage.name!r} is itself the first stage"
        return f"{to!r} is the same stage"

    def _other(self, stage: Stage) -> str:
        others = [name for name in self.names if name != stage.name]
        return f"write one of {', '.join(others)}" if others else "remove it: there is no other stage"


def _cycle_through(start: str, targets: dict[str, str]) -> Sequence[str]:
    """The stages of the cycle through `start`, beginning with it; empty when there is none."""
    cycle = [start]
    stage = targets.get(start)
    while stage is not None and stage not in cycle:
        cycle.append(stage)
        stage = targets.get(stage)
    return cycle if stage == start else ()
