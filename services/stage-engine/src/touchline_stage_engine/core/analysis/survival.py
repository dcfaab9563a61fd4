"""How long customers stay in a stage: the Kaplan-Meier estimate. Customers still inside are censored observations.

Confidence limits use Greenwood's variance on the log-log scale (Kalbfleisch and Prentice), which keeps them in 0…1.
"""

from collections.abc import Iterable, Sequence
from math import exp, log, sqrt
from typing import NamedTuple

Z_95 = 1.959963984540054


class Stays(NamedTuple):
    """Stays of one length: how many customers left, and how many are still inside."""

    length: float
    left: int
    inside: int


class Point(NamedTuple):
    """The estimate just after a length: the share that stays longer, its 95 % limits, and the number at risk."""

    length: float
    share: float
    lower: float
    upper: float
    at_risk: int


class Curve(NamedTuple):
    """The estimate, with a point for each length at which a customer left.

    Attributes:
        median: the least length after which at most half remain; None when more than half remain.
        median_lower, median_upper: its 95 % limits, from the lengths at which the limits reach one half.
    """

    points: tuple[Point, ...]
    stays: int
    left: int
    median: float | None
    median_lower: float | None
    median_upper: float | None


def kaplan_meier(stays: Iterable[Stays]) -> Curve:
    """The curve of stays, in any order. Stays of the same length are added up."""
    by_length: dict[float, tuple[int, int]] = {}
    for length, left, inside in stays:
        before = by_length.get(length, (0, 0))
        by_length[length] = (before[0] + left, before[1] + inside)
    at_risk = total = sum(left + inside for left, inside in by_length.values())
    share, variance = 1.0, 0.0
    points: list[Point] = []
    for length in sorted(by_length):
        left, inside = by_length[length]
        if left:
            share *= 1 - left / at_risk
            variance = variance + left / (at_risk * (at_risk - left)) if at_risk > left else float("inf")
            points.append(Point(length, share, *_limits(share, variance), at_risk))
        at_risk -= left + inside
    return Curve(
        tuple(points),
        total,
        sum(left for left, _ in by_length.values()),
        _first_at_half([(point.length, point.share) for point in points]),
        _first_at_half([(point.length, point.lower) for point in points]),
        _first_at_half([(point.length, point.upper) for point in points]),
    )


def _limits(share: float, variance: float) -> tuple[float, float]:
    if share <= 0.0 or share >= 1.0:
        return share, share
    spread = Z_95 * sqrt(variance) / log(share)
    around = log(-log(share))
    return exp(-exp(around - spread)), exp(-exp(around + spread))


def _first_at_half(values: Sequence[tuple[float, float]]) -> float | None:
    return next((length for length, value in values if value <= 0.5), None)


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """About ``most`` of the points: those at which the share or the length has changed visibly."""
    if len(points) <= most:
        return list(points)
    lengths, shares = points[-1].length / (most / 2), 1 / (most / 2)
    kept = [points[0]]
    for point in points[1:-1]:
        if point.length - kept[-1].length >= lengths or kept[-1].share - point.share >= shares:
            kept.append(point)
    return [*kept, points[-1]]
