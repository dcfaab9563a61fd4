"""A customer's history: everything that a decision about them needs, and the actions decided so far."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from touchline_schemas.events.actions import Action as ActionEvent
from touchline_schemas.events.actions import Outcome

from touchline_notifier.core.decisions.stage_events import Fact, LifecyclePosition
from touchline_notifier.core.profiles.address_suppressions import AddressSuppressions
from touchline_notifier.core.profiles.profile import Profile


class Counted(NamedTuple):
    """An action that counts against frequency caps.

    Attributes:
        at: when it reached its receiver; of one that is decided and not delivered yet, the moment of asking.
        contact: it writes to the person, rather than to a system or a colleague of the company.
    """

    at: datetime
    channel: str
    play: str
    contact: bool = True


class ActedStall(NamedTuple):
    """A stall that a play has acted on: a stall that is reported several times is acted on once."""

    play: str
    lifecycle: str
    stage: str
    since: str
    level: int


@dataclass(slots=True)
class Action:
    """One decision of a play for one customer: a row of ``actions``.

    ``outcome`` held with ``decide_at`` is waiting: decided again then. ``events`` counts the events published about it.
    ``held_out`` is the customer's assignment for the play, None until it was asked for. ``play_version`` is the version
    of the play that it was decided under now, 0 for a text of a file; None: it was not decided now.
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
        )


def reason_text(code: str | None, text: str | None) -> str | None:
    """A reason as it is published: ``code: text``, the code first, so that programs can count by it."""
    if code is None:
        return text
    return f"{code}: {text}" if text else code


@dataclass(slots=True)
class CustomerHistory:
    """One customer as of now.

    Attributes:
        suppressions: what is stored about their address.
        positions: lifecycle → where the customer is in it.
        counted: actions that count against caps, as far back as any play looks.
        waiting: actions to be decided again.
        known: ids of actions that exist already, among those that were asked for.
        assignments: play → whether the customer belongs to its hold-out group, as recorded.
        acted_stalls: stalls that plays have acted on.
    """

    customer_id: str
    profile: Profile = field(default_factory=Profile)
    suppressions: AddressSuppressions | None = None
    positions: dict[str, LifecyclePosition] = field(default_factory=dict)
    counted: list[Counted] = field(default_factory=list)
    waiting: list[Action] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    assignments: dict[str, bool] = field(default_factory=dict)
    acted_stalls: set[ActedStall] = field(default_factory=set)

    def times(
        self, *, channel: str | None = None, play: str | None = None, contacts_only: bool = False
    ) -> list[datetime]:
        """When counted actions happened, of a channel or a play alone if asked."""
        return [
            one.at
            for one in self.counted
            if (channel is None or one.channel == channel)
            and (play is None or one.play == play)
            and (one.contact or not contacts_only)
        ]

    def view(self) -> Mapping[str, Any]:
        """What conditions and templates know about the customer."""
        return {"customer_id": self.customer_id, **self.profile.view()}
