"""What one partition still has to evaluate of one audience."""

import time
from collections.abc import Iterable

from touchline_stage_engine.application.audiences.values import Progress
from touchline_stage_engine.core.audiences.audience import Audience

MOST_CHANGED = 20_000
"""Changed customers beyond which the whole partition is evaluated instead."""
SUMMARY_SECONDS = 30.0
"""How long a customer whose summary is out of date is waited for."""
SWEEP_EVERY = 3600.0
"""Seconds between two evaluations of every customer: what is noted of changes is enough, unless it was missed."""


class AudienceWork:
    """The work on one audience.

    Attributes:
        changed: customer → since when they wait to be evaluated, on the monotonic clock.
        sweep_after: the last customer that a sweep has evaluated; None: no sweep is under way.
        passed_through: up to which instant spans that ended are evaluated; None: the first sweep is not done.
        through: the latest instant by which spans were evaluated, here or by an earlier owner.
        paused_until: after a fault, on the monotonic clock.
    """

    def __init__(self, audience: Audience, progress: Progress) -> None:
        self.audience = audience
        self.evaluated_version = progress.version
        self.through = progress.through
        self.changed: dict[str, float] = {}
        self.sweep_after: str | None = None
        self.passed_through: int | None = None
        self.look_for_passed_at = 0.0
        self.paused_until = 0.0
        self._sweep_wanted = True
        self._sweep_began = 0
        self._swept_at = 0.0

    @property
    def evaluated(self) -> bool:
        """Whether every customer was evaluated by the present version."""
        return self.evaluated_version == self.audience.version

    @property
    def sweeping(self) -> bool:
        """Whether a sweep is under way, or due."""
        return self._sweep_wanted or self.sweep_after is not None or time.monotonic() - self._swept_at > SWEEP_EVERY

    def take(self, audience: Audience) -> None:
        """Go on with what was saved since."""
        if audience.version != self.audience.version:
            self.sweep_after, self._sweep_wanted, self.passed_through = None, True, None
        self.audience = audience

    def want_sweep(self) -> None:
        """Evaluate every customer, after the sweep that is under way."""
        self._sweep_wanted = True

    def note(self, customers: Iterable[str]) -> None:
        """These customers have changed."""
        now = time.monotonic()
        for customer_id in customers:
            self.changed.setdefault(customer_id, now)
        if len(self.changed) > MOST_CHANGED:
            self.changed.clear()
            self._sweep_wanted = True

    def next_changed(self, limit: int) -> dict[str, float]:
        """Take the customers who have waited longest."""
        taken = dict(zip(self.changed, range(limit), strict=False))
        return {customer_id: self.changed.pop(customer_id) for customer_id in taken}

    def wait_on(self, customers: Iterable[str], since: dict[str, float]) -> None:
        """These customers wait for their summaries."""
        now = time.monotonic()
        for customer_id in customers:
            self.changed.setdefault(customer_id, since.get(customer_id, now))

    def begin_sweep(self, instant: int) -> str:
        """The customer after whom to go on."""
        if self.sweep_after is None:
            self.sweep_after, self._sweep_wanted, self._sweep_began = "", False, instant
        return self.sweep_after

    def end_sweep(self) -> None:
        """Every customer was evaluated."""
        self.sweep_after, self._swept_at = None, time.monotonic()
        self.evaluated_version = self.audience.version
        if self.passed_through is None:
            self.passed_through = self._sweep_began


def overdue(since: dict[str, float]) -> set[str]:
    """Customers whose summaries were waited for long enough."""
    limit = time.monotonic() - SUMMARY_SECONDS
    return {customer_id for customer_id, at in since.items() if at < limit}
