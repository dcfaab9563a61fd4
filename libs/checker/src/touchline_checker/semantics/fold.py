"""The reference fold: one customer's touchpoints and the clock in, stage and facts out.

It follows "One touchpoint" and "Stalls and lapses" of docs/semantics.md sentence by sentence, without checkpoints,
incremental counts or any other optimisation.
"""

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import NamedTuple

from touchline_checker.semantics.conditions import matches
from touchline_checker.semantics.definitions import Lifecycle, Rule
from touchline_checker.semantics.times import SECOND
from touchline_checker.semantics.touchpoints import NOTIFIER, Touchpoint


class Fact(NamedTuple):
    """A move, stall or recovery. `at` is its event time; fields that a kind does not have are None."""

    kind: str
    at: int
    stage: str
    backfill: bool
    version: int
    move: str | None = None
    from_stage: str | None = None
    reason: str | None = None
    touchpoint_id: str | None = None
    level: int | None = None
    since: int | None = None
    seconds: float | None = None
    """Seconds in the previous stage (move), or stalled (recovery)."""


class Version(NamedTuple):
    """A version of a lifecycle and the event time from which it is in force; None: for all time."""

    lifecycle: Lifecycle
    effective_from: int | None = None


class Timer(NamedTuple):
    """What fires next: level 0 is the lapse. Timers compare in the order in which they fire."""

    due: int
    is_lapse: bool
    level: int


@dataclass
class Position:
    """Where a customer is in one lifecycle after some of the touchpoints."""

    versions: Sequence[Version]
    stage: str | None = None
    lifecycle: Lifecycle | None = None
    entered_at: int = 0
    last_activity: int | None = None
    base_received: int = 0
    level: int = 0
    counted: list[Touchpoint] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)

    @property
    def version(self) -> int | None:
        return None if self.lifecycle is None else self.lifecycle.version

    @property
    def base(self) -> int:
        """Where the timers start."""
        return self.entered_at if self.last_activity is None else max(self.entered_at, self.last_activity)

    def copy(self) -> "Position":
        """A position that goes on by itself."""
        other = copy(self)
        other.counted, other.facts = list(self.counted), list(self.facts)
        return other

    # The clock

    def next_timer(self) -> Timer | None:
        """The timer that fires next, if no touchpoint comes."""
        if self.lifecycle is None or self.stage is None:
            return None
        stage = self.lifecycle.stages[self.stage]
        timers = [Timer(self.base + after, False, level) for level, after in enumerate(stage.stalls, 1)]
        timers = [timer for timer in timers if timer.level > self.level]
        if stage.lapse is not None:
            timers.append(Timer(self.base + stage.lapse[0], True, 0))
        return min(timers, default=None)

    def fire_one(self, until: int) -> bool:
        """Fire the next timer that is due at or before an instant; whether there was one."""
        timer = self.next_timer()
        if timer is None or timer.due > until or self.lifecycle is None or self.stage is None:
            return False
        backfill = timer.due <= self.base_received
        lapse = self.lifecycle.stages[self.stage].lapse
        if timer.is_lapse and lapse is not None:
            target = self.lifecycle.target(self.stage, lapse[1])
            if target is None:
                raise ValueError(f"{self.lifecycle.name}: the lapse of {self.stage} leads nowhere")
            self._move(target, timer.due, "lapse", "lapse", None, backfill)
        else:
            self.level = timer.level
            self.facts.append(
                Fact(
                    "stall", timer.due, self.stage, backfill, self.lifecycle.version, level=timer.level, since=self.base
                )
            )
        return True

    def fire(self, until: int) -> None:
        """Fire every timer that is due at or before an instant, and those that become due by that."""
        while self.fire_one(until):
            pass

    # Touchpoints

    def take(self, touchpoint: Touchpoint) -> None:
        """Fold the next touchpoint in canonical order."""
        name = self.versions[0].lifecycle.name
        manual = touchpoint.type == "stage_set"
        if touchpoint.machine or (manual and touchpoint.properties.get("lifecycle") != name):
            return
        at = touchpoint.occurred_at
        if self.stage is None:
            newest = self._newest(at)
            unknown = manual and touchpoint.properties.get("stage") not in newest.stages
            if touchpoint.source == NOTIFIER or unknown:
                return
            self.lifecycle, self.base_received = newest, touchpoint.received_at
            self._move(newest.path[0], at, "enter", "rule", touchpoint.id, touchpoint.backfill)
        else:
            self.fire(at)
        if manual:
            self._set(touchpoint)
            return
        activity = self._is_activity(touchpoint)
        if touchpoint.source != NOTIFIER:
            self.counted.append(touchpoint)
            target = self._target_of_rules(touchpoint)
            if target is not None:
                if activity:
                    self._recover(touchpoint)
                kind = self._lifecycle().kind(self.stage, target)
                self.base_received = touchpoint.received_at
                self._move(target, at, kind, "rule", touchpoint.id, touchpoint.backfill)
                return
        if activity:
            self._recover(touchpoint)
            self.last_activity, self.base_received = at, touchpoint.received_at

    def _lifecycle(self) -> Lifecycle:
        if self.lifecycle is None:
            raise AssertionError("a customer without a stage has no version")
        return self.lifecycle

    def _newest(self, at: int) -> Lifecycle:
        """The version in force at an event time; the first is in force for all time before the others."""
        found = self.versions[0].lifecycle
        for version in self.versions[1:]:
            if version.effective_from is None or version.effective_from <= at:
                found = version.lifecycle
        return found

    def _is_activity(self, touchpoint: Touchpoint) -> bool:
        return touchpoint.direction == "inbound" and touchpoint.type not in self._lifecycle().passive

    def _recover(self, touchpoint: Touchpoint) -> None:
        if not self.level or self.stage is None:
            return
        lifecycle = self._lifecycle()
        first_due = self.base + lifecycle.stages[self.stage].stalls[0]
        self.level = 0
        self.facts.append(
            Fact(
                "recovery", touchpoint.occurred_at, self.stage, touchpoint.backfill, lifecycle.version,
                touchpoint_id=touchpoint.id, seconds=(touchpoint.occurred_at - first_due) / SECOND,
            )
        )  # fmt: skip

    def _set(self, touchpoint: Touchpoint) -> None:
        """A manual move: to a stage of the version in use, else of the one in force at that time."""
        to, at = touchpoint.properties.get("stage"), touchpoint.occurred_at
        lifecycle = self._lifecycle()
        if to not in lifecycle.stages:
            lifecycle = self._newest(at)
        if to == self.stage or not isinstance(to, str) or to not in lifecycle.stages:
            return
        kind = lifecycle.kind(self.stage if self.stage in lifecycle.stages else None, to)
        self.lifecycle, self.base_received = lifecycle, touchpoint.received_at
        self._move(to, at, kind, "manual", touchpoint.id, touchpoint.backfill)

    def _target_of_rules(self, touchpoint: Touchpoint) -> str | None:
        lifecycle = self._lifecycle()
        if self.stage is None:
            return None
        for rule in (*lifecycle.rules, *lifecycle.stages[self.stage].rules):
            target = lifecycle.target(self.stage, rule.to)
            if target is not None and self._holds(rule, touchpoint):
                return target
        return None

    def _holds(self, rule: Rule, touchpoint: Touchpoint) -> bool:
        if not any(matches(condition, touchpoint) for condition in rule.conditions):
            return False
        for condition in rule.conditions:
            found = sum(
                matches(condition, earlier)
                for earlier in self.counted
                if condition.within is None or earlier.occurred_at > touchpoint.occurred_at - condition.within
            )
            if found < condition.count:
                return False
        return True

    def _move(self, to: str, at: int, kind: str, reason: str, touchpoint_id: str | None, backfill: bool) -> None:
        newest = self._newest(at)
        if to in newest.stages:
            self.lifecycle = newest
        spent = None if self.stage is None else (at - self.entered_at) / SECOND
        self.facts.append(
            Fact(
                "move", at, to, backfill, self._lifecycle().version, move=kind, from_stage=self.stage, reason=reason,
                touchpoint_id=touchpoint_id, seconds=spent,
            )
        )  # fmt: skip
        self.stage, self.entered_at, self.last_activity, self.level, self.counted = to, at, None, 0, []


def in_force(versions: Iterable[Version], now: int) -> list[Version]:
    """The versions that count now: ordered by number, from the last one that refolds everybody."""
    ordered = sorted(versions, key=lambda version: version.lifecycle.version)
    counting: list[Version] = []
    for version in ordered:
        later = version.effective_from is not None and version.effective_from > now
        if version.lifecycle.refold:
            if later and counting:
                continue
            counting = []
        counting.append(version)
    return counting


def fold(versions: Sequence[Version], touchpoints: Iterable[Touchpoint], fired_through: int) -> Position:
    """Fold a set of touchpoints, in canonical order whatever their order here; then fire timers by the clock."""
    position = Position(versions)
    for touchpoint in sorted(touchpoints, key=lambda touchpoint: touchpoint.order):
        position.take(touchpoint)
    position.fire(fired_through)
    return position


def possible(versions: Sequence[Version], touchpoints: Iterable[Touchpoint], settled: int, now: int) -> list[Position]:
    """Every position that is right while the clock's timers between `settled` and `now` may or may not have fired."""
    found = [fold(versions, touchpoints, settled)]
    while (following := found[-1].copy()).fire_one(now):
        found.append(following)
    return found
