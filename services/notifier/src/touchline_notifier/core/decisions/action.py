"""An action: one decision of a play for one customer, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from touchline_schemas.events.actions import Action as ActionEvent
from touchline_schemas.events.actions import Outcome

from touchline_notifier.core.decisions.hold_reasons import EndCode
from touchline_notifier.core.decisions.stage_events import Fact
from touchline_notifier.core.plays.play import Play


@dataclass(frozen=True, slots=True)
class StepOf:
    """The step of a sequence that an action carries out.

    Attributes:
        name: see ``core.sequences.program``.
        at: when the run came to the step: its ``max_age`` counts from then.
        play: the play that the run began under, with the step's message alone.
        ended: why the run is over, if it is.
    """

    run_id: str
    name: str
    at: datetime
    play: Play
    ended: tuple[EndCode, str] | None = None


@dataclass(slots=True)
class Action:
    """One decision of a play for one customer: a row of ``actions``.

    ``outcome`` held with ``decide_at`` is waiting: decided again then. ``events`` counts the events published about it.
    ``held_out`` is the customer's assignment for the play, None until it was asked for. ``play_version`` is the version
    of the play that it was decided under now, 0 for a text of a file; None: it was not decided now. ``step``: of a
    sequence; None: the play has one step.
    """

    action_id: str
    play: str
    fact: Fact
    customer_id: str
    channel: str
    endpoint: str | None
    priority: int
    outcome: Outcome
    decided_at: datetime
    reason_code: str | None = None
    reason: str | None = None
    decide_at: datetime | None = None
    counts: bool = True
    contact: bool = True
    held_out: bool | None = None
    events: int = 0
    play_version: int | None = None
    step: StepOf | None = None

    @property
    def since(self) -> datetime:
        """From when its age counts: the fact became true, or the run came to the step."""
        return self.fact.at if self.step is None else self.step.at

    @property
    def waiting(self) -> bool:
        """Whether it will be decided again."""
        return self.outcome == "held" and self.decide_at is not None

    def event(self) -> ActionEvent:
        """The event that publishes its present state."""
        return ActionEvent(
            action_id=self.action_id,
            play=self.play,
            fact_id=self.fact.id,
            customer_id=self.customer_id,
            lifecycle=self.fact.lifecycle,
            stage=self.fact.stage,
            channel=self.channel,
            outcome=self.outcome,
            reason=reason_text(self.reason_code, self.reason),
            decided_at=self.decided_at,
            endpoint=self.endpoint,
            sequence=self.events,
            run_id=None if self.step is None else self.step.run_id,
            step=None if self.step is None else self.step.name,
        )


def reason_text(code: str | None, text: str | None) -> str | None:
    """A reason as it is published: ``code: text``, the code first, so that programs can count by it."""
    if code is None:
        return text
    return f"{code}: {text}" if text else code


def play_of(action: Action, plays: Mapping[str, Play]) -> Play | None:
    """The play that an action is decided by: of a step, its message under the play that the run began under.

    None, or switched off: the play runs no longer.
    """
    play = plays.get(action.play)
    return play if play is None or not play.enabled or action.step is None else action.step.play
