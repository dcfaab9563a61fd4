"""A customer's book: all that a decision about them needs, and the actions decided so far."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from touchline_schemas.actions import Action as ActionEvent
from touchline_schemas.actions import Outcome

from touchline_notifier.core.facts import Fact, Standing
from touchline_notifier.core.profile import Profile


class Counted(NamedTuple):
    """An action that counts against frequency caps."""

    at: datetime
    channel: str
    play: str


@dataclass(slots=True)
class Action:
    """One decision of a play for one customer: a row of ``actions``.

    ``outcome`` held with ``decide_at`` is waiting: decided again then. ``events`` counts what was published of it.
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
    events: int = 0

    @property
    def waiting(self) -> bool:
        """Whether it will be decided again."""
        return self.outcome == "held" and self.decide_at is not None

    def event(self) -> ActionEvent:
        """What is published of it as it is now."""
        return ActionEvent(
            action_id=self.action_id,
            play=self.play,
            fact_id=self.fact.id,
            customer_id=self.customer_id,
            lifecycle=self.fact.lifecycle,
            stage=self.fact.stage,
            channel=self.channel,
            outcome=self.outcome,
            reason=said(self.reason_code, self.reason),
            decided_at=self.decided_at,
            endpoint=self.endpoint,
            sequence=self.events,
        )


def said(code: str | None, text: str | None) -> str | None:
    """A reason as it is published: ``code: text``, the code first, so that programs can count by it."""
    if code is None:
        return text
    return f"{code}: {text}" if text else code


@dataclass(slots=True)
class Book:
    """One customer as of now.

    Attributes:
        suppressed: why nothing may be sent to their address, if so.
        standing: by lifecycle.
        counted: actions that count against caps, as far back as any play looks.
        waiting: actions to be decided again.
        known: ids of actions that exist already, among those that were asked for.
    """

    customer_id: str
    profile: Profile = field(default_factory=Profile)
    suppressed: str | None = None
    standing: dict[str, Standing] = field(default_factory=dict)
    counted: list[Counted] = field(default_factory=list)
    waiting: list[Action] = field(default_factory=list)
    known: set[str] = field(default_factory=set)

    def times(self, *, channel: str | None = None, play: str | None = None) -> list[datetime]:
        """When counted actions were decided, of a channel or a play alone if asked."""
        return [
            one.at
            for one in self.counted
            if (channel is None or one.channel == channel) and (play is None or one.play == play)
        ]

    def view(self) -> Mapping[str, Any]:
        """What conditions and templates see of the customer."""
        return {"customer_id": self.customer_id, **self.profile.view()}
