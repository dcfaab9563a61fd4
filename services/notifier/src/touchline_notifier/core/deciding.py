"""The decision: a fact and a customer's book in, actions out.

Rules, in order, for each play that looks at the fact, the higher priority first:

1. A correction concerns plays with ``corrections: true`` alone; a condition that doesn't hold makes no action.
2. What holds it back is asked of every limit (:mod:`touchline_notifier.core.limits`). Held for good, or until a time at
   which it is decided again.
3. What nothing holds back, but a customer in the hold-out share: held out.
4. Otherwise: decided, which is an order to deliver.

An action that waits is cancelled when the customer recovers, moves on, is erased or merged, when the conditions no
longer hold, or when the play is gone.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from touchline_schemas.actions import Action as ActionEvent
from touchline_schemas.actions import Outcome
from touchline_schemas.ids import action_id

from touchline_notifier.core.book import Action, Book, Counted
from touchline_notifier.core.conditions import compare, holds
from touchline_notifier.core.facts import Fact, no_longer_wanted
from touchline_notifier.core.hold_out import is_held_out
from touchline_notifier.core.limits import Circumstances, Hold, hindrances, settle
from touchline_notifier.core.play import Play
from touchline_notifier.core.profile import within
from touchline_notifier.core.reasons import CancelCode, ReasonCode
from touchline_notifier.core.rendering import Rendered, RenderingError, Templates


@dataclass(frozen=True, slots=True)
class Decided:
    """An action came to be, or changed: write the row, publish the event if there is one, deliver what is rendered.

    The action goes on changing with later facts; the event is what it was at this decision.
    """

    action: Action
    event: ActionEvent | None
    rendered: Rendered | None = None


def looks_at(play: Play, fact: Fact) -> bool:
    """Whether a play's ``when`` is met by a fact."""
    when = play.when
    return (
        play.enabled
        and when.fact == fact.type
        and (not when.lifecycle or fact.lifecycle in when.lifecycle)
        and (not when.stage or fact.stage in when.stage)
        and (not when.from_stage or fact.from_stage in when.from_stage)
        and (not when.move or fact.move in when.move)
        and (not when.level or fact.level in when.level)
        and (play.corrections or not fact.correction)
    )


def concerns(play: Play, book: Book, now: datetime) -> bool:
    """Whether a play's conditions hold for a customer."""
    view = book.view()
    return all(holds(view, path, condition) for path, condition in play.if_.profile.items()) and all(
        compare(len(book.profile.times(wanted.type, since=within(wanted.within, now))), wanted.count)
        for wanted in play.if_.history
    )


class Decider:
    """Decides with a fixed set of plays. Changes the book as it goes, so that one decision sees the one before."""

    def __init__(self, plays: Mapping[str, Play], templates: Templates) -> None:
        self.plays = plays
        self._templates = templates
        self._by_priority = sorted(plays.values(), key=lambda play: (-play.priority, play.play))

    def candidates(self, fact: Fact) -> list[Play]:
        """The plays that look at a fact, in the order of their turn."""
        return [play for play in self._by_priority if looks_at(play, fact)]

    def take(self, fact: Fact, book: Book, now: Circumstances) -> Iterator[Decided]:
        """Take a customer's next fact: cancel what it makes unwanted, decide what it asks for."""
        standing = book.standing.get(fact.lifecycle)
        for action in list(book.waiting):
            play = self.plays.get(action.play)
            if action.fact.lifecycle == fact.lifecycle and (play is None or play.exit):
                why = no_longer_wanted(action.fact, standing)
                if why is not None:
                    yield self.cancel(action, book, *why, now.now)
        for play in self.candidates(fact):
            ident = str(action_id(play.play, fact.id))
            if ident in book.known or not concerns(play, book, now.now):
                continue
            book.known.add(ident)
            action = Action(
                action_id=ident,
                play=play.play,
                fact=fact,
                customer_id=book.customer_id,
                channel=play.action.channel,
                endpoint=play.action.endpoint,
                priority=play.priority,
                outcome="held",
                decided_at=now.now,
                counts=not play.transactional,
            )
            yield from self._decide(action, play, book, now)

    def decide_again(self, actions: Iterable[Action], book: Book, now: Circumstances) -> Iterator[Decided]:
        """Decide waiting actions of one customer whose time has come, the higher priority first."""
        for action in sorted(actions, key=lambda one: (-one.priority, one.fact.at, one.action_id)):
            play = self.plays.get(action.play)
            if play is None or not play.enabled:
                yield self.cancel(action, book, "play_gone", f"the play {action.play} no longer runs", now.now)
                continue
            why = no_longer_wanted(action.fact, book.standing.get(action.fact.lifecycle)) if play.exit else None
            if why is None and not concerns(play, book, now.now):
                why = ("not_concerned", "the play's conditions no longer hold")
            if why is not None:
                yield self.cancel(action, book, *why, now.now)
            else:
                yield from self._decide(action, play, book, now)

    def cancel_all(self, book: Book, code: CancelCode, text: str, now: datetime) -> Iterator[Decided]:
        """Cancel all that waits: the customer was erased, or is now part of another."""
        for action in list(book.waiting):
            yield self.cancel(action, book, code, text, now)

    def cancel(self, action: Action, book: Book, code: CancelCode, text: str, now: datetime) -> Decided:
        """Cancel one."""
        return self._conclude(action, book, "cancelled", code, text, now)

    def _decide(self, action: Action, play: Play, book: Book, now: Circumstances) -> Iterator[Decided]:
        hold = settle(play, action.fact, book, list(hindrances(play, action.fact, book, now)))
        rendered = None
        if hold is None:
            if is_held_out(play.play, book.customer_id, play.hold_out):
                share = f"{play.hold_out:.0%} of customers get nothing, to compare with"
                yield self._conclude(action, book, "held_out", "hold_out", share, now.now)
                return
            try:
                rendered = self._templates.render(play, action, book.view())
            except RenderingError as error:
                hold = Hold("template", str(error))
        if hold is None:
            action.endpoint = action.endpoint or play.action.endpoint
            decided = self._conclude(action, book, "decided", None, None, now.now)
            if action.counts:
                book.counted.append(Counted(now.now, action.channel, action.play))
            yield replace(decided, rendered=rendered)
            return
        if hold.until is None:
            yield self._conclude(action, book, "held", hold.code, hold.text, now.now)
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
        if action not in book.waiting:
            book.waiting.append(action)
        yield Decided(action, action.event())

    def _conclude(
        self, action: Action, book: Book, outcome: Outcome, code: ReasonCode | None, text: str | None, now: datetime
    ) -> Decided:
        if action in book.waiting:
            book.waiting.remove(action)
        action.outcome = outcome
        action.reason_code, action.reason = code, text
        action.decide_at, action.decided_at = None, now
        action.events += 1
        return Decided(action, action.event())
