"""The check before an attempt: is the decision still valid?

A retry, an outage, an open breaker or a pause may put hours or days between the decision and the send. So the limits,
the play's conditions and its exits are asked again for every attempt, with the customer as they are known then.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from touchline_notifier.core.decisions.action import Action
from touchline_notifier.core.decisions.customer_history import Counted, CustomerHistory
from touchline_notifier.core.decisions.hold_reasons import CancelCode, cancellation
from touchline_notifier.core.decisions.matching import conditions_hold
from touchline_notifier.core.decisions.stage_events import unwanted
from touchline_notifier.core.delivery.channel import Delivery
from touchline_notifier.core.delivery.conclusion import Cancelled, Expired, Withheld
from touchline_notifier.core.limits.limits import Circumstances, capped, hindrances, settle
from touchline_notifier.core.plays.play import Play

TOO_LATE = "it waited longer than max_age allows before it could be sent"
_NO_DEADLINE = datetime.max.replace(tzinfo=UTC) - timedelta(days=2)
_ASK_AGAIN = timedelta(minutes=1)
"""How long an action waits for another one of the same customer that is decided and not delivered yet."""
_UNKNOWN_PLAY = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Deferred:
    """It may be sent later: the attempt is not made, and not counted."""

    until: datetime
    why: str


Verdict: TypeAlias = Deferred | Withheld | Expired | Cancelled | None
"""None: send it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A delivery of an action, claimed and about to be sent.

    Attributes:
        deadline: after it the action is too old; None: an operator replays it.
    """

    delivery: Delivery
    deadline: datetime | None


@dataclass(frozen=True, slots=True)
class Pending:
    """Another action of the customer that is decided and not delivered.

    Attributes:
        first: it goes before the one that is asked about: it is being sent, or has precedence.
    """

    counted: Counted
    first: bool


def ask_before_sending(
    plays: Mapping[str, Play],
    action: Action,
    history: CustomerHistory,
    now: Circumstances,
    *,
    deadline: datetime | None,
    plays_read_at: datetime,
    pending: Iterable[Pending] = (),
) -> Verdict:
    """Check one action.

    Args:
        history: the customer as of now; ``counted`` holds what was delivered, this action left out.
        deadline: after it the action is too old; None: an operator replays it at any age.
        plays_read_at: when ``plays`` were read. A play that is not among them is gone if the action was decided before.
        pending: the customer's other actions that count.
    """
    if deadline is not None and now.now > deadline:
        return Expired(TOO_LATE)
    play = plays.get(action.play)
    if play is None and action.decided_at > plays_read_at:
        return Deferred(now.now + _UNKNOWN_PLAY, f"play_gone: the play {action.play} is not known to this process")
    if play is None or not play.enabled:
        return Cancelled("play_gone", f"the play {action.play} no longer runs")
    why = _exit(action, play, history)
    play = play if action.step is None else action.step.play
    if why is None and not conditions_hold(play.if_, history, now.now):
        why = ("not_concerned", "the play's conditions no longer hold")
    if why is not None:
        return Cancelled(*why)
    latest = deadline or _NO_DEADLINE
    # The delay is over: it counts from the fact, and the decision has waited for it.
    asked = play.model_copy(update={"delay": None})
    hold = settle(asked, action.fact, history, list(hindrances(asked, action.fact, history, now, latest)), latest)
    if hold is not None:
        if hold.until is None:
            return Withheld(hold.code, hold.text)
        return Deferred(hold.until, f"{hold.code}: {hold.text}")
    if play.transactional:
        return None
    others = replace(history, counted=[*history.counted, *(one.counted for one in pending if one.first)])
    for hold in capped(play, others, now):
        # It is not known yet whether the other one will be delivered.
        return Deferred(now.now + _ASK_AGAIN, f"{hold.code}: another action of this customer goes first")
    return None


def _exit(action: Action, play: Play, history: CustomerHistory) -> tuple[CancelCode, str] | None:
    if action.step is not None:
        # The run knows, and ends in the transaction that decides on the fact.
        return cancellation(action.step.ended)
    if not play.exit:
        return None
    return unwanted(action.fact, action.customer_id, history.positions.get(action.fact.lifecycle))
