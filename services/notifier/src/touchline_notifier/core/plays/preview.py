"""What plays would do with recorded facts: the same decisions, on a clock that the facts drive. Nothing is sent."""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

from touchline_notifier.core.decisions.action import Action, play_of, reason_text
from touchline_notifier.core.decisions.customer_history import CustomerHistory
from touchline_notifier.core.decisions.decide import Decider
from touchline_notifier.core.decisions.decided import Decided
from touchline_notifier.core.decisions.stage_events import Fact, LifecyclePosition
from touchline_notifier.core.limits.limits import Circumstances, Hold, hindrances

WOULD_BE_SENT = "would_be_sent"
"""The outcome of a preview where it would be `decided`."""


@dataclass(frozen=True, slots=True)
class RecordedFact:
    """A fact, and when it was known."""

    fact: Fact
    at: datetime

    def belongs_to(self, start: datetime, end: datetime) -> bool:
        """Whether it was known in [start, end), or is imported history that became true then."""
        return start <= self.at < end or (self.fact.backfill and start <= self.fact.at < end)


@dataclass(frozen=True)
class Wanted:
    """Which facts to look at: of a customer or of all, of days or from a file."""

    customer: str | None
    day: str | None
    days: int
    facts: Path | None
    ignore_backfill: bool = False

    def span(self, now: datetime) -> tuple[datetime, datetime]:
        """From when to when.

        Raises:
            ValueError: the day is none.
        """
        if self.day is None:
            return now - timedelta(days=self.days), now
        try:
            start = datetime.combine(datetime.fromisoformat(self.day).date(), time(0), tzinfo=UTC)
        except ValueError:
            raise ValueError(f"--day {self.day}: write a date such as 2026-03-01") from None
        return start, start + timedelta(days=self.days)


@dataclass(frozen=True, slots=True)
class Previewed:
    """One decision that would be taken.

    Attributes:
        limits: every limit that held it back at that moment, the published reason among them.
        locale: of the texts, where the play says it.
        step: of a sequence.
    """

    at: datetime
    action_id: str
    customer_id: str
    play: str
    channel: str
    lifecycle: str
    stage: str | None
    outcome: str
    reason: str | None
    limits: tuple[Hold, ...]
    subject: str | None = None
    text: str | None = None
    locale: str | None = None
    step: str | None = None

    @property
    def reason_code(self) -> str | None:
        """The reason's code, without its text."""
        return self.reason.partition(":")[0] if self.reason else None


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What would have become of one action in the end.

    Attributes:
        last: the last decision about it.
        waited: the decisions before it, oldest first: it waited for a delay, quiet hours, a cap.
    """

    last: Previewed
    waited: tuple[Previewed, ...] = ()


def conclusions(found: Iterable[Previewed]) -> list[Conclusion]:
    """One of each action, in order of its last decision."""
    decisions: dict[str, list[Previewed]] = {}
    for one in found:
        decisions.setdefault(one.action_id, []).append(one)
    concluded = [Conclusion(several[-1], tuple(several[:-1])) for several in decisions.values()]
    return sorted(concluded, key=lambda one: (one.last.at, one.last.action_id))


def as_if_live(recorded_facts: Iterable[RecordedFact]) -> list[RecordedFact]:
    """Facts of imported history as if they had been known when they became true."""
    return [
        RecordedFact(replace(one.fact, backfill=False), one.fact.at) if one.fact.backfill else one
        for one in recorded_facts
    ]


def totals(found: Iterable[Previewed]) -> list[tuple[str, str, int]]:
    """(outcome, code of the reason, how many), the most frequent first."""
    counts = Counter((one.outcome, one.reason_code or "") for one in found)
    return [(outcome, code, count) for (outcome, code), count in counts.most_common()]


def preview(
    decider: Decider,
    recorded_facts: Iterable[RecordedFact],
    histories: Mapping[str, CustomerHistory],
    *,
    until: datetime,
    to_customers: frozenset[str],
) -> list[Previewed]:
    """Run plays over facts in order of when they were known, and on to ``until`` for what waits.

    Args:
        histories: of every customer in the facts, as they were before; changed on the way.
    """
    found: list[Previewed] = []
    due: list[tuple[datetime, str, str]] = []

    def note(
        decided: Iterable[Decided], history: CustomerHistory, now: Circumstances, limits: Mapping[str, tuple[Hold, ...]]
    ) -> None:
        for one in decided:
            action = one.action
            if action.waiting and action.decide_at is not None:
                heapq.heappush(due, (action.decide_at, history.customer_id, action.action_id))
            if one.event is not None:
                found.append(_previewed(one, now.now, limits.get(action.action_id, ())))

    def follow_runs(history: CustomerHistory, now: datetime) -> None:
        """What would be sent arrives at once. A run is looked at again when it would be."""
        for run in history.running:
            if run.action is not None and run.action.outcome == "decided":
                run.action.outcome, run.concluded_at, run.wake_at = "sent", now, now
            if run.wake_at is not None:
                heapq.heappush(due, (run.wake_at, history.customer_id, run.run_id))

    def decide_due(up_to: datetime) -> None:
        while due and due[0][0] <= up_to:
            at, customer_id, ident = heapq.heappop(due)
            history = histories[customer_id]
            actions = [one for one in history.waiting if one.action_id == ident and one.decide_at == at]
            now = Circumstances(at, to_customers=to_customers)
            limits = {one.action_id: _limits(decider, one, history, now) for one in actions}
            note(decider.decide_again(actions, history, now), history, now, limits)
            for one in decider.wake([run.run_id for run in history.running if run.wake_at == at], history, now):
                note([one], history, now, {one.action.action_id: _limits(decider, one.action, history, now, one)})
            follow_runs(history, at)

    for recorded in sorted(recorded_facts, key=lambda one: one.at):
        decide_due(recorded.at)
        fact, history = recorded.fact, histories[recorded.fact.customer_id]
        if not history.positions.setdefault(fact.lifecycle, LifecyclePosition()).apply(fact):
            continue
        now = Circumstances(recorded.at, to_customers=to_customers)
        # One at a time: a limit counts what was decided just before.
        for one in decider.decide(fact, history, now):
            note([one], history, now, {one.action.action_id: _limits(decider, one.action, history, now, one)})
        follow_runs(history, recorded.at)
    decide_due(until)
    return found


def _limits(
    decider: Decider, action: Action, history: CustomerHistory, now: Circumstances, decided: Decided | None = None
) -> tuple[Hold, ...]:
    play = play_of(action, decider.plays)
    if play is None or (decided is not None and decided.event is not None and decided.event.outcome != "held"):
        return ()
    return tuple(hindrances(play, action.fact, history, now, since=action.since))


def _previewed(decided: Decided, at: datetime, limits: tuple[Hold, ...]) -> Previewed:
    action, event = decided.action, decided.event
    assert event is not None, "only what would be published is shown"
    held = event.outcome == "held"
    return Previewed(
        at=at,
        action_id=action.action_id,
        customer_id=action.customer_id,
        play=action.play,
        channel=action.channel,
        lifecycle=action.fact.lifecycle,
        stage=action.fact.stage,
        outcome=WOULD_BE_SENT if event.outcome == "decided" else event.outcome,
        reason=event.reason,
        limits=limits if held else (),
        subject=decided.rendered.subject if decided.rendered else None,
        text=decided.rendered.text if decided.rendered else None,
        locale=decided.rendered.locale if decided.rendered else None,
        step=action.step.name if action.step else None,
    )


def limit_lines(previewed: Previewed) -> list[str]:
    """The text of each limit."""
    return [reason_text(hold.code, hold.text) or hold.code for hold in previewed.limits] or (
        [previewed.reason] if previewed.reason else []
    )
