"""A customer's history: everything that a decision about them needs, and the actions decided so far."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from touchline_notifier.core.decisions.action import Action
from touchline_notifier.core.decisions.stage_events import LifecyclePosition
from touchline_notifier.core.profiles.address_suppressions import AddressSuppressions
from touchline_notifier.core.profiles.profile import Profile
from touchline_notifier.core.sequences.run import Run


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
        runs: of sequences: those that go on, and those that ended since the customer was read.
        audiences: whose member the customer is, as far as is known.
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
    audiences: set[str] = field(default_factory=set)
    runs: list[Run] = field(default_factory=list)

    @property
    def running(self) -> list[Run]:
        """The runs that go on."""
        return [run for run in self.runs if run.ended is None]

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
