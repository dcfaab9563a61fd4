"""What the fold finds out about a customer in one lifecycle: moves, stalls and recoveries.

These are the canonical facts, the ones that follow from the set of touchpoints. What subscribers are told, with
sequences and fact numbers, is worked out from them in `publication`.
All times are microseconds since the epoch; lengths of time are seconds.
"""

from typing import NamedTuple, TypeAlias

# Kinds of a move.
ENTER = "enter"
ADVANCE = "advance"
REGRESS = "regress"
RENEW = "renew"
LAPSE = "lapse"

# Kinds of a reason.
RULE = "rule"
BY_TIME = "lapse"
MANUAL = "manual"
LATE_TOUCHPOINT = "late_touchpoint"
MERGE = "merge"
DEFINITION = "definition"


class Move(NamedTuple):
    """A change of stage. `from_stage`, and with it `previous_stage_seconds`, is None on `enter`.

    `version` is the version of the lifecycle that holds the customer after the move.
    """

    kind: str
    from_stage: str | None
    to_stage: str
    occurred_at: int
    reason_kind: str
    reason_text: str
    touchpoint_id: str | None
    version: int
    previous_stage_seconds: float | None
    backfill: bool


class Stall(NamedTuple):
    """Patience of `level` (1, 2, …) ran out at `due_at`; it had been running since `since`."""

    stage: str
    level: int
    since: int
    due_at: int
    version: int
    backfill: bool


class Recovery(NamedTuple):
    """A stall's end by an activity; `stalled_seconds` counts from the due time of the stall's first level.

    `touchpoint_id` is None for a stall that turned out never to have been one: then `stalled_seconds` is 0.
    """

    stage: str
    stalled_seconds: float
    touchpoint_id: str | None
    occurred_at: int
    version: int
    backfill: bool


Fact: TypeAlias = Move | Stall | Recovery
