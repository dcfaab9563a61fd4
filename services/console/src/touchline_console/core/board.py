"""The board of a lifecycle: its stages in order with the people in them, and the arrows between them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

BACKWARD = ("regress", "lapse")


class Column(NamedTuple):
    """One stage.

    Attributes:
        customers: people in it now; ``stalled`` of them are stalled.
        moved_on: of those who reached the stage before, the share that reached this one; None for the first.
        went_back: moves back out of this stage for each arrival in it.
        trend: people in the stage at the end of each of the last days.
        median_seconds: after how long half of those who entered have left; None where less than half have.
    """

    stage: str
    title: str
    customers: int
    stalled: int
    moved_on: float | None
    went_back: float | None
    trend: Sequence[int]
    median_seconds: float | None
    off_path: bool = False

    @property
    def stalled_share(self) -> float:
        """The share of the people in the stage who are stalled."""
        return self.stalled / self.customers if self.customers else 0.0


def board(
    funnel: Mapping[str, Any],
    flows: Iterable[Mapping[str, Any]],
    trends: Mapping[str, Sequence[int]],
    medians: Mapping[str, float | None],
) -> list[Column]:
    """The columns, from a funnel, flows, people by day, and median times."""
    arrivals: dict[str, int] = {}
    back: dict[str, int] = {}
    for move in flows:
        arrivals[move["to_stage"]] = arrivals.get(move["to_stage"], 0) + move["moves"]
        if move["move"] in BACKWARD and move["from_stage"]:
            back[move["from_stage"]] = back.get(move["from_stage"], 0) + move["moves"]

    def column(step: Mapping[str, Any], off_path: bool) -> Column:
        stage = step["stage"]
        arrived = arrivals.get(stage, 0)
        return Column(
            stage,
            step["title"],
            step["customers"],
            step["stalled"],
            step.get("conversion_from_previous"),
            back.get(stage, 0) / arrived if arrived else None,
            trends.get(stage, ()),
            medians.get(stage),
            off_path,
        )

    return [
        *(column(step, False) for step in funnel["stages"]),
        *(column(step, True) for step in funnel["off_path"]),
    ]
