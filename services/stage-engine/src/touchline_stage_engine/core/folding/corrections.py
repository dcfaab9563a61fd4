"""Publish facts: the canonical facts in order, or corrections after history was folded again.

Facts are numbered for each customer and lifecycle: `fact_no` counts all facts, `sequence` counts moves; both increase
by one. Each published move starts from the stage where the previous one ended, so the published moves form one chain
without gaps, in whatever order the touchpoints arrived.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal, NamedTuple, TypeAlias

from touchline_schemas.definitions.durations import SECOND

from touchline_stage_engine.core.definitions.compile import CompiledLifecycle
from touchline_stage_engine.core.definitions.timeline import Timeline
from touchline_stage_engine.core.folding.facts import BY_TIME, ENTER, Fact, Move, Recovery, Stall
from touchline_stage_engine.core.folding.state import StageState

Cause: TypeAlias = Literal["late_touchpoint", "merge", "definition"]

_CAUSE_TEXTS: dict[Cause, str] = {
    "late_touchpoint": "a touchpoint arrived late",
    "merge": "two customers were merged",
    "definition": "the lifecycle's definition changed",
}


class Numbered(NamedTuple):
    """A fact as it is published; `sequence` is that of the latest move, this one included."""

    fact: Fact
    fact_no: int
    sequence: int


@dataclass(slots=True)
class Published:
    """What was last published about a customer in a lifecycle. `stage` None: nothing yet.

    `since` is the start of the published open stall (0 when `level` is 0). Timers due up to `past_until` were already
    in the past when this definition first applied to the customer: their facts are `backfill`.
    """

    sequence: int = 0
    fact_no: int = 0
    version: int = 0
    stage: str | None = None
    entered_at: int = 0
    level: int = 0
    since: int = 0
    past_until: int = 0

    def forget_stage(self) -> bool:
        """Note that the customer has no stage any more; the numbers go on. Returns whether there was one."""
        had = self.stage is not None
        self.stage, self.level, self.since, self.entered_at = None, 0, 0, 0
        return had

    def dump(self) -> list[Any]:
        """A small JSON value that `load` reads back."""
        data = [self.sequence, self.fact_no, self.version, self.stage, self.entered_at, self.level, self.since]
        return [*data, self.past_until] if self.past_until else data

    @classmethod
    def load(cls, data: Sequence[Any]) -> "Published":
        """What `dump` wrote."""
        return cls(*data)


@dataclass(slots=True)
class Publication:
    """Facts to publish in order, and whether the compacted latest stage must be written (no stage: erased)."""

    facts: list[Numbered] = field(default_factory=list)
    stage_changed: bool = False


class _Writer:
    """Numbers facts and updates `published` with each of them."""

    def __init__(self, published: Published) -> None:
        self.published = published
        self.facts: list[Numbered] = []

    def add(self, fact: Fact) -> None:
        published = self.published
        if published.past_until and _due(fact) <= published.past_until:
            fact = fact._replace(backfill=True)
        published.fact_no += 1
        if isinstance(fact, Move):
            published.sequence += 1
            published.stage, published.entered_at = fact.to_stage, fact.occurred_at
            published.level = published.since = 0
        elif isinstance(fact, Stall):
            published.level, published.since = fact.level, fact.since
        else:
            published.level = published.since = 0
        published.version = fact.version
        self.facts.append(Numbered(fact, published.fact_no, published.sequence))


def _due(fact: Fact) -> float:
    """When the timer behind a fact was due; infinity for a fact with another cause."""
    if isinstance(fact, Stall):
        return fact.due_at
    return fact.occurred_at if isinstance(fact, Move) and fact.reason_kind == BY_TIME else inf


def publish(published: Published, facts: Sequence[Fact], timeline: Timeline) -> Publication:
    """Publish canonical facts that continue what is published. Changes `published`."""
    writer = _Writer(published)
    for fact in facts:
        if isinstance(fact, Move) and fact.from_stage is None and published.stage is not None:
            # The customer enters again after all touchpoints were removed: continue from the published stage.
            if fact.to_stage == published.stage:
                published.entered_at, published.version = fact.occurred_at, fact.version
                continue
            kind = timeline.version(fact.version).kind_of(published.stage, fact.to_stage)
            fact = fact._replace(kind=kind, from_stage=published.stage)
        writer.add(fact)
    return Publication(writer.facts, bool(facts))


def correct(
    published: Published,
    state: StageState | None,
    timeline: Timeline,
    cause: Cause,
    facts: Sequence[Fact],
    start: StageState | None = None,
    backfill: bool = False,
) -> Publication:
    """Publish how the result of a refold differs from what is published. Changes `published`.

    `state` and `facts` are the result of the refold, and `start` is the checkpoint from which it began. `backfill` is
    the flag of the corrections. At most one recovery, one move and one stall are published, in this order.
    """
    before = published.dump()
    if state is None:
        # All touchpoints were removed. No move leaves a lifecycle: the latest stage is erased, and the chain continues
        # from it if the customer enters again.
        published.level = published.since = 0
        return Publication([], published.stage is not None)
    writer = _Writer(published)
    _end_stall(writer, state, facts, start, backfill)
    _correct_stage(writer, state, timeline.version(state.stage.version), cause, backfill)
    if state.level > published.level:
        due = state.settled_at
        writer.add(
            Stall(
                state.stage.name, state.level, state.base, due, state.stage.version,
                cause == "definition" or due <= state.base_received,
            )
        )  # fmt: skip
    published.version, published.entered_at = state.stage.version, state.entered_at
    published.level, published.since = state.level, state.base if state.level else 0
    return Publication(writer.facts, published.dump()[2:] != before[2:])


def _end_stall(
    writer: _Writer, state: StageState, facts: Sequence[Fact], start: StageState | None, backfill: bool
) -> None:
    """Publish the end of a stall, unless the stall is still open, or ended when the customer left the stage."""
    published = writer.published
    stage, since = published.stage, published.since
    if not published.level or stage is None:
        return
    if _is_open(state, stage, since):
        if state.level < published.level:
            # Another version has a longer time to stall: a recovery, then the level that is open is published again.
            writer.add(Recovery(stage, 0.0, None, since, published.version, backfill))
        return
    stalled_at = start.stalled_at if start is not None and _is_open(start, stage, since) else None
    following = list(facts)
    for index, fact in enumerate(facts):
        if isinstance(fact, Stall) and fact.stage == stage and fact.since == since:
            stalled_at = fact.due_at if stalled_at is None else stalled_at
            following = list(facts[index + 1 :])
    if stalled_at is None:
        # In the corrected history there was no stall.
        writer.add(Recovery(stage, 0.0, None, state.base, published.version, backfill))
        return
    ending = next((fact for fact in following if not isinstance(fact, Stall)), None)
    if isinstance(ending, Recovery):
        writer.add(ending)
    elif ending is not None and state.stage.name == stage:
        # The customer left the stage and is back in it, so no published move ends the stall.
        seconds = (ending.occurred_at - stalled_at) / SECOND
        writer.add(Recovery(stage, seconds, None, ending.occurred_at, published.version, backfill))


def _is_open(state: StageState, stage: str, since: int) -> bool:
    return bool(state.level) and state.stage.name == stage and state.base == since


def _correct_stage(
    writer: _Writer, state: StageState, lifecycle: CompiledLifecycle, cause: Cause, backfill: bool
) -> None:
    published, to_stage = writer.published, state.stage.name
    if published.stage == to_stage:
        return
    kind, spent = ENTER, None
    if published.stage is not None:
        kind = lifecycle.kind_of(published.stage, to_stage)
        spent = max(0.0, (state.entered_at - published.entered_at) / SECOND)
    text = _CAUSE_TEXTS[cause]
    writer.add(
        Move(kind, published.stage, to_stage, state.entered_at, cause, text, None, lifecycle.version, spent, backfill)
    )
