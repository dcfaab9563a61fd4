"""Sequences, customers' days, and a small engine that runs the core over them, for tests."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from touchline_notifier.core.decisions.action import Action
from touchline_notifier.core.decisions.customer_history import CustomerHistory
from touchline_notifier.core.decisions.decide import Decider
from touchline_notifier.core.decisions.decided import Decided
from touchline_notifier.core.decisions.stage_events import Fact, LifecyclePosition
from touchline_notifier.core.limits.limits import Circumstances
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.plays.rendering import Templates
from touchline_notifier.core.sequences.awaited import hits_of
from touchline_notifier.core.sequences.run import Run
from touchline_schemas.touchpoint import Touchpoint


def a_message(text: str, **more: Any) -> dict[str, Any]:
    """A step that sends to the CRM."""
    return {"send": {"channel": "webhook", "endpoint": "crm", "subject": text, **more}}


def a_sequence(*steps: dict[str, Any], name: str = "onboarding", **more: Any) -> Play:
    """A play with steps, on any move into reach."""
    given = {"play": name, "when": {"fact": "stage-changed", "stage": ["reach"]}, "steps": list(steps)}
    return Play.model_validate(given | more)


@dataclass
class Company:
    """Runs the core for one customer, as the partition's owner does: facts, touchpoints, timers, deliveries.

    Attributes:
        sent: (step, when) of every message that was decided.
        deliver: messages arrive as soon as they are decided.
    """

    plays: list[Play]
    history: CustomerHistory = field(default_factory=lambda: CustomerHistory("c-1"))
    deliver: bool = True
    sent: list[tuple[str, datetime]] = field(default_factory=list)
    decisions: list[Decided] = field(default_factory=list)
    to_customers: frozenset[str] = frozenset({"email"})
    sending: bool = True

    def __post_init__(self) -> None:
        self.decider = Decider({play.play: play for play in self.plays}, Templates())

    def publish(self, *plays: Play) -> None:
        """Put other plays in force."""
        self.decider = Decider({play.play: play for play in plays}, Templates())

    def _now(self, at: datetime) -> Circumstances:
        return Circumstances(at, self.sending, self.to_customers)

    def _note(self, decided: Iterable[Decided], at: datetime) -> None:
        for one in decided:
            self.decisions.append(one)
            if one.event is not None and one.event.outcome == "decided":
                assert one.action.step is None or one.event.step == one.action.step.name
                self.sent.append((one.event.step or "", at))

    def fact(self, fact: Fact, at: datetime | None = None) -> None:
        """A fact is read."""
        now = at or fact.at
        if self.history.positions.setdefault(fact.lifecycle, LifecyclePosition()).apply(fact):
            self._note(self.decider.decide(fact, self.history, self._now(now)), now)
            self._arrive(now)

    def touchpoint(self, touchpoint: Touchpoint, at: datetime | None = None) -> None:
        """A touchpoint is read."""
        now = at or touchpoint.occurred_at
        for run in self.history.running:
            hits = list(hits_of(run.definition, touchpoint))
            run.hits += [hit for hit in hits if hit not in run.hits]
            if hits:
                run.wake_at = min(run.wake_at or now, now)
        self.history.profile.take(touchpoint)

    def run_until(self, end: datetime) -> None:
        """Do what becomes due, in order of time."""
        while True:
            due = [(run.wake_at, run.run_id) for run in self.history.running if run.wake_at is not None]
            due += [(one.decide_at, one.action_id) for one in self.history.waiting if one.decide_at is not None]
            if not due or min(due)[0] > end:
                return
            at, ident = min(due)
            self.wake([ident], at)

    def wake(self, idents: Iterable[str], at: datetime) -> None:
        """Look at actions and runs."""
        wanted, now = set(idents), self._now(at)
        actions = [one for one in self.history.waiting if one.action_id in wanted]
        self._note(self.decider.decide_again(actions, self.history, now), at)
        self._note(self.decider.wake(wanted, self.history, now), at)
        self._arrive(at)

    def _arrive(self, at: datetime) -> None:
        for run in self.history.running:
            if self.deliver and run.action is not None and run.action.outcome == "decided":
                self.deliver_now(run, at)

    def deliver_now(self, run: Run, at: datetime, outcome: str = "sent", code: str | None = None) -> None:
        """The delivery of a run's message ends."""
        action = run.action
        assert action is not None
        action.outcome, action.reason_code, run.concluded_at = outcome, code, at  # type: ignore[assignment]
        run.wake_at = at + timedelta(seconds=1)

    @property
    def steps(self) -> list[str]:
        """The steps whose messages were decided."""
        return [step for step, _ in self.sent]

    @property
    def run(self) -> Run:
        """The newest run."""
        return self.history.runs[-1]

    def end(self) -> str | None:
        """Why the newest run ended."""
        return None if self.run.ended is None else self.run.ended.code


def actions_of(company: Company) -> list[Action]:
    """Every action that was decided on, each once."""
    return list({id(one.action): one.action for one in company.decisions}.values())
