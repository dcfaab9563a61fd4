"""The canonical facts of a customer in one lifecycle: moves, stalls and recoveries.

They follow from the set of touchpoints alone. `corrections` derives what is published, with sequences and fact
numbers. Times are microseconds since the epoch; durations are seconds.
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

    `version` is the lifecycle version that applies to the customer after the move.
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
    """The customer reached stall level `level` (1, 2, …) at `due_at`, without activity since `since`."""

    stage: str
    level: int
    since: int
    due_at: int
    version: int
    backfill: bool


class Recovery(NamedTuple):
    """An activity ended a stall; `stalled_seconds` counts from the due time of the first level.

    A correction that takes back a stall has `touchpoint_id` None and `stalled_seconds` 0.
    """

    stage: str
    stalled_seconds: float
    touchpoint_id: str | None
    occurred_at: int
    version: int
    backfill: bool


Fact: TypeAlias = Move | Stall | Recovery
