"""The decision: from a fact and a customer's history to actions.

Rules, in order, for each play that matches the fact, the higher priority first:

1. A correction concerns only plays with ``corrections: true``; a condition that doesn't hold makes no action.
2. Every limit is checked (core/limits/limits.py). The action is held for good, or until a time at which it is
   decided again.
3. If nothing holds it back and the customer is in the hold-out group: held out. A customer is assigned once for a
   play, and keeps the assignment when the share changes.
4. Otherwise: decided, which is an order to deliver.

Plays of equal priority have no fixed order: a hash of play and customer decides, always in the same way.

An action that waits is cancelled when the customer recovers, moves on, is erased or merged, when the conditions no
longer hold, or when the play is gone.

A play with steps begins a run instead of an action (core/sequences/advance.py); each of its messages is decided by
rule 2 and 4.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from touchline_schemas.events.actions import Outcome
from touchline_schemas.ids import action_id

from touchline_notifier.core.decisions.action import Action
from touchline_notifier.core.decisions.customer_history import Counted, CustomerHistory
from touchline_notifier.core.decisions.decided import Decided
from touchline_notifier.core.decisions.hold_reasons import CancelCode, ReasonCode
from touchline_notifier.core.decisions.matching import conditions_hold, matches, stall_of
from touchline_notifier.core.decisions.stage_events import Fact, no_longer_wanted
from touchline_notifier.core.limits.hold_out import is_held_out, position
from touchline_notifier.core.limits.limits import Circumstances, Hold, hindrances, reaches_customer, settle
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.plays.rendering import RenderingError, Templates
from touchline_notifier.core.sequences.advance import Sequences


def precedence(action: Action, customer_id: str) -> tuple[int, datetime, float, str]:
    """The order among actions of one customer: the higher priority, then the older fact, then by hash."""
    return (-action.priority, action.fact.at, position(action.play, customer_id), action.action_id)


def _note_stall(action: Action, history: CustomerHistory) -> None:
    stall = stall_of(action.fact, action.play)
    if stall is not None:
        history.acted_stalls.add(stall)


class Decider:
    """Decides with a fixed set of plays. It updates the history, so that each decision sees the ones before.

    Args:
        versions: play → the version that was published; a play of a file has none.
    """

    def __init__(
        self, plays: Mapping[str, Play], templates: Templates, versions: Mapping[str, int] | None = None
    ) -> None:
        self.plays = plays
        self._templates = templates
        self._versions = versions or {}
        self.sequences = Sequences(plays, self._versions, self)

    def candidates(self, fact: Fact) -> list[Play]:
        """The plays that match a fact, in the order in which they are decided."""
        found = [play for play in self.plays.values() if matches(play, fact)]
        return sorted(found, key=lambda play: (-play.priority, position(play.play, fact.customer_id), play.play))

    def decide(self, fact: Fact, history: CustomerHistory, now: Circumstances) -> Iterator[Decided]:
        """Decide on a customer's next fact: cancel what it makes unwanted, start actions of plays that match."""
        current = history.positions.get(fact.lifecycle)
        for action in list(history.waiting):
            play = self.plays.get(action.play)
            if action.step is None and action.fact.lifecycle == fact.lifecycle and (play is None or play.exit):
                why = no_longer_wanted(action.fact, current)
                if why is not None:
                    yield self.cancel(action, history, *why, now.now)
        yield from self.sequences.on_fact(fact, history, now)
        for play in self.candidates(fact):
            ident = str(action_id(play.play, fact.id))
            if ident in history.known or not conditions_hold(play.if_, history, now.now):
                continue
            stall = stall_of(fact, play.play)
            if stall is not None and stall in history.acted_stalls:
                # A stall that a late touchpoint undid and that is due again is published again; it is the same stall.
                continue
            history.known.add(ident)
            if play.steps:
                if stall is not None:
                    history.acted_stalls.add(stall)
                yield from self.sequences.begin(play, fact, history, now)
                continue
            action = Action(
                action_id=ident,
                play=play.play,
                fact=fact,
                customer_id=history.customer_id,
                channel=play.action.channel,
                endpoint=play.action.endpoint,
                priority=play.priority,
                outcome="held",
                decided_at=now.now,
                counts=not play.transactional,
                contact=reaches_customer(play, now.to_customers),
                play_version=self._versions.get(play.play, 0),
            )
            yield from self.decide_message(action, play, history, now)

    def decide_again(
        self, actions: Iterable[Action], history: CustomerHistory, now: Circumstances
    ) -> Iterator[Decided]:
        """Decide waiting actions of one customer whose time has come, the higher priority first."""
        for action in sorted(actions, key=lambda one: precedence(one, history.customer_id)):
            if action.step is not None:
                yield from self.sequences.decide_again(action, history, now)
                continue
            play = self.plays.get(action.play)
            if play is None or not play.enabled:
                yield self.cancel(action, history, "play_gone", f"the play {action.play} no longer runs", now.now)
                continue
            action.play_version = self._versions.get(play.play, 0)
            why = no_longer_wanted(action.fact, history.positions.get(action.fact.lifecycle)) if play.exit else None
            if why is None and not conditions_hold(play.if_, history, now.now):
                why = ("not_concerned", "the play's conditions no longer hold")
            if why is not None:
                yield self.cancel(action, history, *why, now.now)
            else:
                yield from self.decide_message(action, play, history, now)

    def wake(self, runs: Iterable[str], history: CustomerHistory, now: Circumstances) -> Iterator[Decided]:
        """Look at one customer's runs whose time has come, by their ids."""
        for run in [run for run in history.running if run.run_id in set(runs)]:
            yield from self.sequences.wake(run, history, now)

    def cancel_all(self, history: CustomerHistory, code: CancelCode, text: str, now: datetime) -> Iterator[Decided]:
        """Cancel all that waits: the customer was erased, or is now part of another, with whom their runs go on."""
        for action in list(history.waiting):
            if action.step is not None and code == "merged":
                continue
            yield self.cancel(action, history, code, text, now)

    def cancel(self, action: Action, history: CustomerHistory, code: CancelCode, text: str, now: datetime) -> Decided:
        """Cancel a waiting action."""
        return self._conclude(action, history, "cancelled", code, text, now)

    def hold_out(self, action: Action, play: Play, history: CustomerHistory, now: datetime) -> Decided:
        """Record that the customer belongs to the control group."""
        share = f"{play.hold_out:.0%} of customers get nothing, to compare with"
        return self._conclude(action, history, "held_out", "hold_out", share, now)

    def decide_message(
        self, action: Action, play: Play, history: CustomerHistory, now: Circumstances
    ) -> Iterator[Decided]:
        """Check every limit: decide, hold out or hold back. A run was assigned to its group when it began."""
        since, deadline = action.since, action.since + play.max_age
        holds = list(hindrances(play, action.fact, history, now, deadline, since=since))
        hold = settle(play, action.fact, history, holds, deadline)
        rendered = None
        if hold is None and action.step is None:
            assigned = history.assignments.get(play.play)
            if assigned is None:
                assigned = is_held_out(play.play, history.customer_id, play.hold_out)
                history.assignments[play.play] = assigned
            action.held_out = assigned
            if assigned and play.hold_out > 0:
                _note_stall(action, history)
                yield self.hold_out(action, play, history, now.now)
                return
        if hold is None:
            try:
                rendered = self._templates.render(play, action, history.view())
            except RenderingError as error:
                hold = Hold("template", str(error))
        if hold is None:
            action.endpoint = action.endpoint or play.action.endpoint
            decided = self._conclude(action, history, "decided", None, None, now.now)
            _note_stall(action, history)
            if action.counts:
                history.counted.append(Counted(now.now, action.channel, action.play, action.contact))
            yield replace(decided, rendered=rendered)
            return
        if hold.until is None:
            yield self._conclude(action, history, "held", hold.code, hold.text, now.now)
            return
        again = action.waiting and action.reason_code == hold.code
        action.decide_at = hold.until
        if again:
            # The same reason, for longer: nothing new to publish, but the row has a new time.
            action.reason = hold.text
            yield Decided(action, None)
            return
        action.outcome, action.reason_code, action.reason = "held", hold.code, hold.text
        action.decided_at = now.now
        action.events += 1
        if action not in history.waiting:
            history.waiting.append(action)
        _note_stall(action, history)
        yield Decided(action, action.event())

    def _conclude(
        self,
        action: Action,
        history: CustomerHistory,
        outcome: Outcome,
        code: ReasonCode | None,
        text: str | None,
        now: datetime,
    ) -> Decided:
        if action in history.waiting:
            history.waiting.remove(action)
        stall = stall_of(action.fact, action.play) if action.step is None else None
        if outcome == "cancelled" and stall is not None:
            history.acted_stalls.discard(stall)
        action.outcome = outcome
        action.reason_code, action.reason = code, text
        action.decide_at, action.decided_at = None, now
        action.events += 1
        return Decided(action, action.event())
