"""Sample data to check templates with: facts that a play matches, as the engine publishes them, and two customers."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

from touchline_schemas.events.facts import CustomerRecovered, CustomerStalled, MoveKind, Reason, StageChanged

from touchline_notifier.core.decisions.action import Action
from touchline_notifier.core.decisions.stage_events import fact_of
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.plays.template_formats import Sample

AT = datetime(2026, 1, 5, 9, tzinfo=UTC)
_MOVES: tuple[MoveKind, ...] = ("regress", "advance", "renew", "lapse", "enter")
_AT_MOST = 200
"""Stages of a play that names very many are not all tried."""


def sample_events(play: Play) -> Iterator[StageChanged | CustomerStalled | CustomerRecovered]:
    """Events that a play looks at, of every kind that differs in what it says: an enter comes from nowhere, a lapse
    has no touchpoint.
    """
    when = play.when
    common: dict[str, Any] = {
        "customer_id": "c-17",
        "lifecycle": when.lifecycle[0] if when.lifecycle else "service-cycle",
        "lifecycle_version": 1,
        "fact_no": 2,
        "occurred_at": AT,
        "decided_at": AT,
    }
    stages = when.stage or ("retention",)
    if when.fact == "customer-stalled":
        for stage, level in product(stages, when.level or (1, 2)):
            since = AT - timedelta(days=30)
            yield CustomerStalled(**common, stage=stage, level=level, since=since, due_at=AT)
    elif when.fact == "customer-recovered":
        for stage in stages:
            yield CustomerRecovered(**common, stage=stage, stalled_seconds=86400.0, touchpoint_id="t-1")
            if play.corrections:
                yield CustomerRecovered(**common, stage=stage)
    else:
        for stage, move, before in product(stages, when.move or _MOVES, when.from_stage or ("advocacy",)):
            if move != "enter":
                yield _moved(common, before, stage, move)
            elif not when.from_stage:
                yield _moved(common, None, stage, move)


def _moved(common: dict[str, Any], before: str | None, stage: str, move: MoveKind) -> StageChanged:
    by_time = move == "lapse"
    return StageChanged(
        **common,
        from_stage=before,
        to_stage=stage,
        move=move,
        reason=Reason(kind="lapse", text="quiet for 90d")
        if by_time
        else Reason(kind="rule", text="a bad survey", touchpoint_id="t-1"),
        sequence=1 if before is None else 2,
        previous_stage_seconds=None if before is None else 86400.0,
    )


def sample_actions(play: Play) -> Iterator[Action]:
    """An action of the play on each of these events."""
    for event, _ in zip(sample_events(play), range(_AT_MOST), strict=False):
        yield Action(
            action_id="00000000-0000-5000-8000-000000000001",
            play=play.play,
            fact=fact_of("00000000-0000-5000-8000-000000000000", event),
            customer_id="c-17",
            channel=play.action.channel,
            endpoint=play.action.endpoint,
            priority=play.priority,
            outcome="decided",
            decided_at=AT,
        )


def sample_action(play: Play, customer_id: str, action_id: str | None = None) -> Action:
    """The play's action for a customer, as if a fact that the play looks at had just come."""
    action = next(sample_actions(play))
    fact = replace(action.fact, customer_id=customer_id, data={**action.fact.data, "customer_id": customer_id})
    return replace(action, action_id=action_id or action.action_id, customer_id=customer_id, fact=fact)


class SampleTraits(dict[str, Any]):
    """Traits of a customer about whom everything is known: any name has a value."""

    def __missing__(self, name: str) -> str:
        return Sample(f"<{name}>")

    def __contains__(self, name: object) -> bool:
        return True

    def get(self, name: str, default: Any = None) -> Any:
        """Never the default."""
        return super().get(name) if super().__contains__(name) else self[name]


class SampleLast(SampleTraits):
    """Newest properties of every type of touchpoint."""

    def __missing__(self, name: str) -> Any:
        return SampleTraits()


EVERYTHING_KNOWN: dict[str, Any] = {
    "customer_id": "c-17",
    "email": "ada@example.org",
    "time_zone": "Europe/Berlin",
    "locale": "de-DE",
    "traits": SampleTraits(),
    "last": SampleLast(),
}
"""A customer about whom everything is known."""

NOTHING_KNOWN: dict[str, Any] = {
    "customer_id": "c-17",
    "email": None,
    "time_zone": None,
    "locale": None,
    "traits": {},
    "last": {},
}
"""A customer about whom nothing is known."""
