"""A small line chart as the path of an SVG image: for figures beside which a full chart would be too much."""

from collections.abc import Sequence
from typing import NamedTuple


class Sparkline(NamedTuple):
    """Paths in a box of ``width`` × ``height``: the line, and the area below it."""

    line: str
    area: str
    width: int
    height: int


def sparkline(values: Sequence[float], width: int = 120, height: int = 36) -> Sparkline | None:
    """The path through equally spaced values; None with fewer than two of them.

    A constant runs in the middle, and zero at the bottom.
    """
    if len(values) < 2:
        return None
    low, high = min(values), max(values)
    span = high - low
    step = width / (len(values) - 1)

    def y_of(value: float) -> float:
        if not span:
            return height / 2 if low else height - 2
        return 2 + (height - 4) * (1 - (value - low) / span)

    points = [f"{index * step:.1f} {y_of(value):.1f}" for index, value in enumerate(values)]
    line = "M" + "L".join(points)
    return Sparkline(line, f"{line}L{width} {height}L0 {height}Z", width, height)
