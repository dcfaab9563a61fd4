"""Fold recorded history under a candidate definition and under the running version, and compare the outcomes.

A `Simulation` takes one customer's touchpoints at a time, in order, and keeps only totals: its memory does not grow
with the history. Nothing is published or written.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from touchline_stage_engine.core.analysis.funnel import FunnelStep, funnel_steps
from touchline_stage_engine.core.definitions.compile import CompiledLifecycle
from touchline_stage_engine.core.folding.facts import Fact, Move, Stall
from touchline_stage_engine.core.folding.fold import Fold
from touchline_stage_engine.core.folding.state import StageState
from touchline_stage_engine.core.touchpoint import Touchpoint

EXAMPLES = 20
"""Maximum number of example customers for each change of stage."""


class Flow(NamedTuple):
    """A move between two stages, by kind."""

    from_stage: str | None
    to_stage: str
    kind: str


class StallLevel(NamedTuple):
    """A stall level of a stage."""

    stage: str
    level: int


class StageChange(NamedTuple):
    """The stage under the running version and under the candidate; None: no stage."""

    running: str | None
    candidate: str | None


class Trigger(NamedTuple):
    """The facts that a play considers; an empty set means any.

    Attributes:
        fact: stage-changed, customer-stalled or customer-recovered.
        stages: the stage of the stall or recovery, or the target of the move.
    """

    play: str
    fact: str
    lifecycles: frozenset[str] = frozenset()
    stages: frozenset[str] = frozenset()
    from_stages: frozenset[str] = frozenset()
    moves: frozenset[str] = frozenset()
    levels: frozenset[int] = frozenset()

    @classmethod
    def of(cls, play: str, when: Mapping[str, Any]) -> "Trigger":
        """The trigger of a play's `when`, where a single name means a list of one."""

        def several(key: str) -> frozenset[Any]:
            value = when.get(key, ())
            return frozenset([value] if isinstance(value, str | int) else value)

        return cls(
            play, when["fact"], several("lifecycle"), several("stage"), several("from_stage"), several("move"),
            several("level"),
        )  # fmt: skip

    def considers(self, fact: Fact, lifecycle: str) -> bool:
        """Whether the play considers a fact of this lifecycle. Plays ignore backfill."""
        if fact.backfill or (self.lifecycles and lifecycle not in self.lifecycles):
            return False
        if isinstance(fact, Move):
            return (
                self.fact == "stage-changed"
                and (not self.stages or fact.to_stage in self.stages)
                and (not self.from_stages or fact.from_stage in self.from_stages)
                and (not self.moves or fact.kind in self.moves)
            )
        if self.stages and fact.stage not in self.stages:
            return False
        if isinstance(fact, Stall):
            return self.fact == "customer-stalled" and (not self.levels or fact.level in self.levels)
        return self.fact == "customer-recovered"


@dataclass
class Outcome:
    """The outcome of one version: numbers of customers, and of facts over the whole history."""

    lifecycle: str
    version: int
    path: list[str]
    now_in: Counter[str] = field(default_factory=Counter)
    """Customers by final stage."""
    furthest: Counter[str] = field(default_factory=Counter)
    """Customers by furthest stage of the path."""
    flows: Counter[Flow] = field(default_factory=Counter)
    stalls: Counter[StallLevel] = field(default_factory=Counter)
    stalled_now: Counter[StallLevel] = field(default_factory=Counter)
    recoveries: Counter[str] = field(default_factory=Counter)
    plays: Counter[str] = field(default_factory=Counter)
    """Facts that each play would consider, before its limits and conditions."""

    @property
    def funnel(self) -> list[FunnelStep]:
        """How far customers came along the path."""
        return funnel_steps(self.path, self.furthest)

    def add(self, state: StageState | None, facts: Sequence[Fact], triggers: Iterable[Trigger]) -> None:
        """Add one customer."""
        if state is None:
            return
        self.now_in[state.stage.name] += 1
        if state.level:
            self.stalled_now[StallLevel(state.stage.name, state.level)] += 1
        furthest = 0
        for fact in facts:
            if isinstance(fact, Move):
                self.flows[Flow(fact.from_stage, fact.to_stage, fact.kind)] += 1
                if fact.to_stage in self.path:
                    furthest = max(furthest, self.path.index(fact.to_stage))
            elif isinstance(fact, Stall):
                self.stalls[StallLevel(fact.stage, fact.level)] += 1
            else:
                self.recoveries[fact.stage] += 1
            for trigger in triggers:
                if trigger.considers(fact, self.lifecycle):
                    self.plays[trigger.play] += 1
        self.furthest[self.path[furthest]] += 1


@dataclass
class Report:
    """What would change. Without a running version, `running` is None and `matrix` is empty."""

    customers: int
    touchpoints: int
    candidate: Outcome
    running: Outcome | None
    matrix: Counter[StageChange]
    """Customers by stage under either version, the unchanged ones too."""
    examples: dict[StageChange, list[str]]
    """The first customers of each change."""

    @property
    def changes(self) -> Counter[StageChange]:
        """Customers by change of stage."""
        return Counter({cell: count for cell, count in self.matrix.items() if cell.running != cell.candidate})

    @property
    def would_move(self) -> int:
        """Customers who would be in another stage than they are."""
        return sum(self.changes.values())

    def flow_differences(self) -> dict[Flow, int]:
        """Flow → moves under the candidate minus moves under the running version; equal numbers are left out."""
        before = Counter[Flow]() if self.running is None else self.running.flows
        after = self.candidate.flows
        return {flow: after[flow] - before[flow] for flow in {**before, **after} if after[flow] != before[flow]}

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            "customers": self.customers,
            "touchpoints": self.touchpoints,
            "would_move": self.would_move,
            "changes": [
                {**change._asdict(), "customers": count, "examples": self.examples[change]}
                for change, count in self.changes.most_common()
            ],
            "matrix": [{**cell._asdict(), "customers": count} for cell, count in self.matrix.most_common()],
            "candidate": _outcome_as_json(self.candidate),
            "running": None if self.running is None else _outcome_as_json(self.running),
            "flow_differences": [
                {**flow._asdict(), "difference": difference} for flow, difference in self.flow_differences().items()
            ],
        }


def _outcome_as_json(outcome: Outcome) -> dict[str, Any]:
    def listed(counts: Counter[Any]) -> list[dict[str, Any]]:
        return [{**key._asdict(), "count": count} for key, count in counts.most_common()]

    return {
        "lifecycle": outcome.lifecycle,
        "version": outcome.version,
        "now_in": dict(outcome.now_in),
        "funnel": [step._asdict() for step in outcome.funnel],
        "flows": listed(outcome.flows),
        "stalls": listed(outcome.stalls),
        "stalled_now": listed(outcome.stalled_now),
        "recoveries": dict(outcome.recoveries),
        "plays": dict(outcome.plays),
    }


def _stage_of(state: StageState | None) -> str | None:
    return None if state is None else state.stage.name


def _outcome_of(lifecycle: CompiledLifecycle) -> Outcome:
    path = sorted((stage for stage in lifecycle.stages.values() if stage.on_path), key=lambda stage: stage.position)
    return Outcome(lifecycle.name, lifecycle.version, [stage.name for stage in path])


class Simulation:
    """Folds recorded histories under a candidate and, if given, under the running version.

    Args:
        fired_through: instant (microseconds) up to which timers fire.
    """

    def __init__(
        self, candidate: Fold, running: Fold | None, fired_through: int, triggers: Sequence[Trigger] = ()
    ) -> None:
        self._candidate, self._running = candidate, running
        self._fired_through = fired_through
        self._triggers = triggers
        self._report = Report(
            customers=0,
            touchpoints=0,
            candidate=_outcome_of(candidate.timeline.newest),
            running=None if running is None else _outcome_of(running.timeline.newest),
            matrix=Counter(),
            examples={},
        )

    def add(self, customer_id: str, touchpoints: Sequence[Touchpoint]) -> StageChange | None:
        """Fold one customer's whole history, given in order (`Touchpoint.order`); their change of stage, if any."""
        report = self._report
        report.customers += 1
        report.touchpoints += len(touchpoints)
        state, facts = self._candidate.refold(touchpoints, self._fired_through)
        report.candidate.add(state, facts, self._triggers)
        if self._running is None or report.running is None:
            return None
        before, facts_before = self._running.refold(touchpoints, self._fired_through)
        report.running.add(before, facts_before, self._triggers)
        change = StageChange(_stage_of(before), _stage_of(state))
        report.matrix[change] += 1
        if change.running == change.candidate:
            return None
        examples = report.examples.setdefault(change, [])
        if len(examples) < EXAMPLES:
            examples.append(customer_id)
        return change

    def report(self) -> Report:
        """The report so far."""
        return self._report
