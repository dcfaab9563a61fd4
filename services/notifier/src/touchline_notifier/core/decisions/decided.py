"""What a decision changes."""

from dataclasses import dataclass

from touchline_schemas.events.actions import Action as ActionEvent

from touchline_notifier.core.decisions.action import Action
from touchline_notifier.core.plays.rendering import Rendered


@dataclass(frozen=True, slots=True)
class Decided:
    """An action came to be, or changed: write the row, publish the event if there is one, deliver what is rendered.

    The action goes on changing with later facts; the event is what it was at this decision.
    """

    action: Action
    event: ActionEvent | None
    rendered: Rendered | None = None
