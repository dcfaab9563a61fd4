"""Makes plays, facts and touchpoints for the tests of the notifier's core."""

from datetime import UTC, datetime
from typing import Any

from touchline_notifier.core.decisions.customer_history import CustomerHistory
from touchline_notifier.core.decisions.decide import Decider
from touchline_notifier.core.decisions.stage_events import Fact, LifecyclePosition
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.plays.rendering import Templates
from touchline_schemas.touchpoint import Touchpoint

NOON = datetime(2026, 3, 3, 12, tzinfo=UTC)
"""A Tuesday."""


def a_play(name: str = "win-back", **more: Any) -> Play:
    """A play on any stall, by webhook."""
    given = {
        "play": name,
        "when": {"fact": "customer-stalled"},
        "action": {"channel": "webhook", "endpoint": "crm", "body": "Hello {{ customer_id }}"},
    }
    return Play.model_validate(given | more)


def a_stall(number: int = 1, **more: Any) -> Fact:
    """A stall in retention, due at noon."""
    given: dict[str, Any] = {
        "id": f"fact-{number}", "type": "customer-stalled", "customer_id": "c-1", "lifecycle": "service-cycle",
        "incarnation": 0, "fact_no": number, "stage": "retention", "at": NOON, "backfill": False,
        "correction": False, "level": 1,
    }  # fmt: skip
    return Fact(**given | more)


def a_move(number: int = 1, **more: Any) -> Fact:
    """A move into reach."""
    given: dict[str, Any] = {
        "type": "stage-changed", "stage": "reach", "from_stage": "retention", "move": "regress", "level": None,
        "sequence": number,
    }  # fmt: skip
    return a_stall(number, **given | more)


def a_touchpoint(kind: str = "page_viewed", at: datetime = NOON, ident: str = "t-1", **more: Any) -> Touchpoint:
    """A touchpoint of c-1."""
    given: dict[str, Any] = {
        "id": ident, "type": kind, "channel": "web", "direction": "inbound", "customer_id": "c-1", "occurred_at": at,
        "received_at": at, "source": "shop",
    }  # fmt: skip
    return Touchpoint(**given | more)


def a_history(*facts: Fact) -> CustomerHistory:
    """The history of c-1 after facts were taken."""
    history = CustomerHistory("c-1")
    for fact in facts:
        history.positions.setdefault(fact.lifecycle, LifecyclePosition()).apply(fact)
    return history


def a_decider(*plays: Play) -> Decider:
    """A decider with these plays."""
    return Decider({play.play: play for play in plays}, Templates())
