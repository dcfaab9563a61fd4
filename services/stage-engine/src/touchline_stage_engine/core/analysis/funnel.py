"""Funnels: how many customers reached each stage of the path."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from touchline_stage_engine.core.definitions.model import Definition

PUBLISHED_CONVERSION = {
    "ecommerce": 0.0273,
    "saas": 0.0477,
    "travel_and_hospitality": 0.0197,
    "financial_services": 0.0322,
}
"""Published average conversion rates (visitors to customers) by industry, to compare a funnel with."""


class FunnelStep(NamedTuple):
    """One stage of a funnel.

    Attributes:
        reached: customers who ever were in this stage or in a later one.
        from_previous: share of those who reached the previous stage; None when none did, and in the first stage.
        overall: share of those who reached the first stage; None when nobody did.
    """

    stage: str
    reached: int
    from_previous: float | None
    overall: float | None


def funnel_steps(stages: Sequence[str], furthest: Mapping[str, int]) -> list[FunnelStep]:
    """The funnel over ordered stages, from the number of customers by furthest stage.

    A customer who reached a later stage counts in every earlier one, even in a stage that they skipped: a move from
    the first stage to the third is not a drop-out of the second.
    """
    steps: list[FunnelStep] = []
    total = sum(furthest.get(stage, 0) for stage in stages)
    left, before = total, None
    for stage in stages:
        from_previous = left / before if before else None
        steps.append(FunnelStep(stage, left, from_previous, left / total if total else None))
        before = left
        left -= furthest.get(stage, 0)
    return steps


def stages_by_former_name(newest: Definition, earlier: Sequence[Definition]) -> dict[str, str]:
    """Former name → present name, for stages of earlier versions (newest first) whose names are gone.

    A renamed stage keeps its position. Stages between the same two common names are matched in order; without a
    counterpart between them, the preceding stage is taken. Stages off the path are matched among themselves; without a
    counterpart they keep their names.
    """
    found: dict[str, str] = {}
    kept = {stage.name for stage in newest.every_stage}
    for version in earlier:
        for former, now, ordered in (
            ([stage.name for stage in version.stages], [stage.name for stage in newest.stages], True),
            ([stage.name for stage in version.off_path], [stage.name for stage in newest.off_path], False),
        ):
            for name, meant in _matched(former, now, ordered=ordered).items():
                if name not in kept:
                    found.setdefault(name, meant)
    return found


def _matched(former: Sequence[str], now: Sequence[str], *, ordered: bool) -> dict[str, str]:
    matched: dict[str, str] = {}
    index_now = {name: index for index, name in enumerate(now)}
    before, gone = -1, list[str]()
    for name in (*former, None):
        after = len(now) if name is None else index_now.get(name)
        if after is None:
            gone.append(name or "")
            continue
        new = [one for one in now[before + 1 : after] if one not in former]
        for index, former_name in enumerate(gone):
            if new:
                matched[former_name] = new[min(index, len(new) - 1)]
            elif ordered:
                matched[former_name] = now[min(max(before, 0), len(now) - 1)]
        if name is not None:
            before, gone = after, []
    return matched
