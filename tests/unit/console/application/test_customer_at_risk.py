"""A customer's page shows first why they are at risk."""

from datetime import UTC, datetime, timedelta
from typing import Any

from touchline_console.application.customer import SLIPPED_FOR, most_telling, slipped

NOW = datetime(2026, 11, 28, tzinfo=UTC)


def moved(move: str, ago: timedelta) -> dict[str, Any]:
    at = (NOW - ago).isoformat().replace("+00:00", "Z")
    return {"last_move": {"move": move, "occurred_at": at}}


def test_a_backward_last_move_counts_for_ninety_days() -> None:
    explained = {
        "a": moved("regress", timedelta(days=1)),
        "b": moved("lapse", SLIPPED_FOR),
        "c": moved("regress", SLIPPED_FOR + timedelta(seconds=1)),
        "d": moved("advance", timedelta(0)),
        "e": moved("renew", timedelta(0)),
    }
    assert slipped(explained, NOW) == {"a": "regress", "b": "lapse"}


def stage(level: int, entered: str) -> dict[str, Any]:
    return {"stalled_level": level, "entered_at": entered}


def test_a_lifecycle_at_risk_is_shown_before_a_calm_one() -> None:
    stages = {"calm": stage(0, "2026-01-01"), "stalled": stage(1, "2026-02-01"), "back": stage(0, "2026-01-01")}
    found: dict[str, Any] = {"standing": {"stages": stages}, "slipped": {"back": "regress"}}
    assert most_telling(found) == "back"
    assert most_telling(found | {"slipped": {}}) == "stalled"
