"""A run: one customer's way through a sequence."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from touchline_notifier.core.decisions.action import Action, StepOf
from touchline_notifier.core.decisions.hold_reasons import EndCode
from touchline_notifier.core.decisions.stage_events import Fact
from touchline_notifier.core.sequences.definition import Definition
from touchline_notifier.core.sequences.program import Node
from touchline_notifier.core.sequences.steps import Outcome

GOAL = "goal"
"""Touchpoints of the goal are noted under this name, beside the names of steps."""


class Hit(NamedTuple):
    """A touchpoint that a step waits for, or that is the goal."""

    step: str
    at: datetime


class End(NamedTuple):
    """Why and when a run was over."""

    at: datetime
    code: EndCode
    text: str


class Visit(NamedTuple):
    """A step that a run came to. ``left_at`` and ``result`` are None while it is there."""

    entered_at: datetime
    left_at: datetime | None = None
    result: str | None = None


@dataclass(slots=True, eq=False)
class Run:
    """One run, as its row says.

    Attributes:
        fact: what it began on.
        definition: what it began under.
        version: of the play, as it was published; 0: a file.
        step: where it is; ``entered_at``: since when, by the times of what led there.
        wake_at: looked at again then; None: something else brings it on.
        outcome: of the last `wait_until`.
        anchor: the awaited move that it went on with: later moves end it, and this one does not.
        hits: touchpoints noted for it.
        action: of the present step. ``concluded_at``: when its delivery was over.
        visits: steps whose visit began or ended since the run was read.
        touched: it has to be written. ``stored``: it has been.
    """

    run_id: str
    customer_id: str
    fact: Fact
    definition: Definition
    version: int
    started_at: datetime
    step: str
    entered_at: datetime
    held_out: bool = False
    wake_at: datetime | None = None
    outcome: Outcome | None = None
    anchor: Fact | None = None
    ended: End | None = None
    hits: list[Hit] = field(default_factory=list)
    action: Action | None = None
    concluded_at: datetime | None = None
    visits: dict[str, Visit] = field(default_factory=dict)
    touched: bool = False
    stored: bool = False

    @property
    def play(self) -> str:
        """The play's name."""
        return self.definition.play.play

    @property
    def node(self) -> Node:
        """The step that it is at."""
        return self.definition.nodes[self.step]

    def step_of(self) -> StepOf:
        """The present step, for its action."""
        ended = None if self.ended is None else (self.ended.code, self.ended.text)
        return StepOf(self.run_id, self.step, self.entered_at, self.definition.messages[self.step], ended)

    def enter(self, step: str, at: datetime) -> None:
        """Come to a step."""
        self.step, self.entered_at = step, at
        self.action, self.concluded_at, self.wake_at = None, None, None
        self.visits[step] = Visit(at)
        self.touched = True

    def leave(self, result: str, at: datetime) -> None:
        """Leave the present step."""
        self.visits[self.step] = Visit(self.entered_at, at, result)
        self.touched = True

    def end(self, code: EndCode, text: str, at: datetime) -> None:
        """Be over."""
        if self.visits.get(self.step, Visit(at)).left_at is None:
            self.leave(code, at)
        self.ended, self.wake_at, self.touched = End(at, code, text), None, True
