"""How runs of sequences begin, go on and end: a function of what is stored of a customer and the time.

A run is at one step. It leaves

* a `wait` when its time is over,
* a `wait_until` with the first touchpoint or move that it waits for, or when its time is over,
* a `branch` at once,
* a `send` when its message was delivered or given up, or is held back for good. Limits put it off meanwhile.

The next step begins at the instant that ended the one before, also when that is noticed late: what should have been
sent during an outage is then too old, and is not sent all at once. A `send` ends when its message was delivered.

A run ends behind its last step, and before that when the customer recovers, moves (other than the present step waits
for), converts, refuses the messages or is erased, or when the play runs no longer. Of two runs of one play, which a
merge brings together, the one that began first goes on.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Protocol

from touchline_schemas.ids import action_id, step_action_id

from touchline_notifier.core.decisions.action import Action
from touchline_notifier.core.decisions.customer_history import CustomerHistory
from touchline_notifier.core.decisions.decided import Decided
from touchline_notifier.core.decisions.hold_reasons import CancelCode, EndCode
from touchline_notifier.core.decisions.matching import conditions_hold
from touchline_notifier.core.decisions.stage_events import Fact, unwanted
from touchline_notifier.core.limits.hold_out import is_held_out
from touchline_notifier.core.limits.limits import Circumstances, after_wait, reaches_customer
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.sequences.awaited import awaited_move, hits_known
from touchline_notifier.core.sequences.definition import definition_of
from touchline_notifier.core.sequences.program import FIRST
from touchline_notifier.core.sequences.run import GOAL, Run

_FIRST_LOOK, _LAST_LOOK = timedelta(seconds=2), timedelta(minutes=10)
"""How soon a run looks whether its message was delivered, and how seldom at last."""

_ENDINGS: Mapping[tuple[str, str], EndCode] = {
    ("held", "suppressed"): "suppressed",
    ("held", "no_consent"): "no_consent",
    ("cancelled", "not_concerned"): "not_concerned",
    ("cancelled", "play_gone"): "play_gone",
}
"""What ends a run with its message. One that is not sent for another reason is skipped."""


class Messages(Protocol):
    """Decides on the messages of steps as on those of plays of one step."""

    def decide_message(
        self, action: Action, play: Play, history: CustomerHistory, now: Circumstances
    ) -> Iterator[Decided]:
        """Check every limit; decide, or hold."""

    def cancel(self, action: Action, history: CustomerHistory, code: CancelCode, text: str, now: datetime) -> Decided:
        """Cancel a waiting action."""

    def hold_out(self, action: Action, play: Play, history: CustomerHistory, now: datetime) -> Decided:
        """Record that the customer belongs to the control group."""


class Sequences:
    """Moves runs on. Like the decider, it updates the history.

    Args:
        plays: in force. Runs of other plays end.
        versions: play → the version that was published.
    """

    def __init__(self, plays: Mapping[str, Play], versions: Mapping[str, int], messages: Messages) -> None:
        self._plays = plays
        self._versions = versions
        self._messages = messages
        self._definitions = {name: definition_of(play) for name, play in plays.items() if play.steps}

    def begin(self, play: Play, fact: Fact, history: CustomerHistory, now: Circumstances) -> Iterator[Decided]:
        """Begin a run, unless the customer has one of this play. The control group is asked for here, and only here."""
        if any(run.play == play.play for run in history.running):
            return
        definition = self._definitions[play.play]
        ident = str(action_id(play.play, fact.id))
        first = self._action(ident, play.messages[0], fact, history, now)
        if fact.backfill or now.now > fact.at + play.max_age:
            yield from self._messages.decide_message(first, play.messages[0], history, now)
            return
        assigned = history.assignments.get(play.play)
        if assigned is None:
            assigned = is_held_out(play.play, history.customer_id, play.hold_out)
            history.assignments[play.play] = assigned
        run = Run(
            ident, history.customer_id, fact, definition, self._versions.get(play.play, 0), now.now, FIRST, fact.at,
            held_out=assigned, hits=hits_known(definition, history.profile, fact.at),
        )  # fmt: skip
        history.runs.append(run)
        run.enter(FIRST, fact.at)
        if assigned and play.hold_out > 0:
            run.end("hold_out", "in the control group", now.now)
            yield self._messages.hold_out(first, play, history, now.now)
            return
        yield from self._go_on(run, history, now)

    def on_fact(self, fact: Fact, history: CustomerHistory, now: Circumstances) -> Iterator[Decided]:
        """What a customer's next fact, already applied to their positions, means for their runs."""
        yield from self._keep_one_of_each(history, now.now)
        for run in list(history.running):
            if awaited_move(run, fact):
                run.outcome = "happened"
                if fact.lifecycle == run.fact.lifecycle:
                    run.anchor = fact
                self._pass(run, run.node.next, "happened", fact.at, now.now)
                yield from self._go_on(run, history, now)
            elif fact.lifecycle == run.fact.lifecycle:
                yield from self._end_unwanted(run, history, now.now)

    def wake(self, run: Run, history: CustomerHistory, now: Circumstances) -> Iterator[Decided]:
        """Look at a run whose time has come."""
        yield from self._keep_one_of_each(history, now.now)
        yield from self._go_on(run, history, now)

    def decide_again(self, action: Action, history: CustomerHistory, now: Circumstances) -> Iterator[Decided]:
        """Decide a step's waiting action again, and go on."""
        yield from self._keep_one_of_each(history, now.now)
        if not action.waiting:
            return
        run = next((run for run in history.running if run.action is action), None)
        if run is None:
            yield self._messages.cancel(action, history, "play_gone", "its sequence is over", now.now)
            return
        yield from self._end_unwanted(run, history, now.now)
        if run.ended is not None:
            return
        message = run.definition.messages[run.step]
        if not conditions_hold(message.if_, history, now.now):
            yield from self._stop(run, "not_concerned", "the play's conditions no longer hold", history, now.now)
            return
        yield from self._messages.decide_message(action, message, history, now)
        yield from self._go_on(run, history, now)

    def _go_on(self, run: Run, history: CustomerHistory, now: Circumstances) -> Iterator[Decided]:
        yield from self._end_unwanted(run, history, now.now)
        while run.ended is None and self._passed(run, history, now.now):
            pass
        if run.ended is not None or run.node.step.send is None or run.action is not None:
            return
        message = run.definition.messages[run.step]
        if not conditions_hold(message.if_, history, now.now):
            yield from self._stop(run, "not_concerned", "the play's conditions do not hold", history, now.now)
            return
        ident = str(step_action_id(run.run_id, run.step))
        run.action = self._action(ident, message, run.fact, history, now, run)
        yield from self._messages.decide_message(run.action, message, history, now)
        yield from self._go_on(run, history, now)

    def _passed(self, run: Run, history: CustomerHistory, now: datetime) -> bool:
        """Leave the present step if it is over; whether it was."""
        run.touched, run.wake_at = True, None
        node, step = run.node, run.node.step
        if step.wait is not None:
            until = after_wait(run.entered_at, step.wait, run.definition.play, history)
            if until > now:
                run.wake_at = until
                return False
            self._pass(run, node.next, "waited", until, now)
        elif step.wait_until is not None:
            until = run.entered_at + step.wait_until.within
            hit = min((at for name, at in run.hits if name == run.step and run.entered_at < at <= until), default=None)
            if hit is None and until > now:
                run.wake_at = until
                return False
            run.outcome = "timed_out" if hit is None else "happened"
            self._pass(run, node.next, run.outcome, hit or until, now)
        elif step.branch is not None:
            on = step.branch.on
            chosen = run.outcome == on if isinstance(on, str) else conditions_hold(on, history, now)
            self._pass(run, node.after(chosen), "then" if chosen else "else", run.entered_at, now)
        else:
            return self._message_over(run, now)
        return True

    def _message_over(self, run: Run, now: datetime) -> bool:
        action = run.action
        if action is None or action.waiting:
            return False  # it is to be decided, or is decided again at a time of its own
        if action.outcome == "decided":
            waited = (now - action.decided_at) / 4
            run.wake_at = now + min(max(waited, _FIRST_LOOK), _LAST_LOOK)
            return False
        code = action.reason_code
        ending = _ENDINGS.get((action.outcome, code or ""))
        if ending is not None:
            run.end(ending, action.reason or "", now)
        elif action.outcome in ("sent", "failed"):
            self._pass(run, run.node.next, action.outcome, max(run.concluded_at or now, run.entered_at), now)
        else:
            self._pass(run, run.node.next, code or action.outcome, max(now, run.entered_at), now)
        return True

    def _pass(self, run: Run, following: str | None, result: str, at: datetime, now: datetime) -> None:
        run.leave(result, at)
        if following is None:
            run.end("completed", "all steps are done", now)
        else:
            run.enter(following, at)

    def _end_unwanted(self, run: Run, history: CustomerHistory, now: datetime) -> Iterator[Decided]:
        why = self._exit(run, history) if run.ended is None else None
        if why is not None:
            yield from self._stop(run, *why, history, now)

    def _exit(self, run: Run, history: CustomerHistory) -> tuple[CancelCode, str] | None:
        play, began_under = self._plays.get(run.play), run.definition.play
        if play is None or not play.enabled:
            return "play_gone", f"the play {run.play} no longer runs"
        latest = run.fact.at + began_under.goal.within
        if any(hit.step == GOAL and run.fact.at < hit.at <= latest for hit in run.hits):
            return "converted", "the customer did what the play's goal is"
        if not began_under.exit:
            return None
        return unwanted(run.anchor or run.fact, run.customer_id, history.positions.get(run.fact.lifecycle))

    def _stop(
        self, run: Run, code: CancelCode, text: str, history: CustomerHistory, now: datetime
    ) -> Iterator[Decided]:
        run.end(code, text, now)
        if run.action is not None and run.action.waiting:
            yield self._messages.cancel(run.action, history, code, text, now)

    def _keep_one_of_each(self, history: CustomerHistory, now: datetime) -> Iterator[Decided]:
        kept: set[str] = set()
        for run in sorted(history.running, key=lambda one: (one.started_at, one.run_id)):
            if run.play in kept:
                yield from self._stop(run, "merged", "an earlier run of the same person goes on", history, now)
            kept.add(run.play)

    def _action(
        self,
        ident: str,
        message: Play,
        fact: Fact,
        history: CustomerHistory,
        now: Circumstances,
        run: Run | None = None,
    ) -> Action:
        version = self._versions.get(message.play, 0) if run is None else run.version
        return Action(
            action_id=ident,
            play=message.play,
            fact=fact,
            customer_id=history.customer_id,
            channel=message.action.channel,
            endpoint=message.action.endpoint,
            priority=message.priority,
            outcome="held",
            decided_at=now.now,
            counts=not message.transactional,
            contact=reaches_customer(message, now.to_customers),
            play_version=version,
            step=None if run is None else run.step_of(),
        )
