"""What a funnel says: how far customers came, step by step."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

PUBLISHED_CONVERSION = {
    "ecommerce": 0.0273,
    "saas": 0.0477,
    "travel_and_hospitality": 0.0197,
    "financial_services": 0.0322,
}
"""Published average conversion rates (visitors to customers) by industry, to hold a funnel against."""


class FunnelStep(NamedTuple):
    """One stage of a funnel.

    Attributes:
        reached: customers who ever were in this stage or in a later one.
        from_previous: the share of those who reached the stage before; None where nobody did, and in the first stage.
        overall: the share of those who reached the first stage; None where nobody did.
    """

    stage: str
    reached: int
    from_previous: float | None
    overall: float | None


def funnel_steps(stages: Sequence[str], furthest: Mapping[str, int]) -> list[FunnelStep]:
    """The funnel over ordered stages, from how many customers' furthest stage each is.

    Whoever came further counts as having come this far, whether or not they stopped here: a customer who jumped from
    the first stage to the third is no drop-out of the second.
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
