"""A customer's buying motive: curiosity, habit or value.

It is derived from purchases and from the customer's latest feedback, and comes with its reasons:

- *value*: a purchase, and the latest feedback is approval;
- *habit*: regular purchases at even intervals without approval; a better offer may win the customer;
- *curiosity*: everything else, such as no purchase, one purchase, or purchases at uneven intervals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean, median, pstdev
from typing import Any, Literal

from touchline_schemas.definitions.durations import DAY

from touchline_stage_engine.core.touchpoint import Touchpoint

PURCHASES = frozenset({"purchased", "renewed", "upgraded"})
APPROVAL = frozenset({"testimonial_given", "referral_made", "upgraded"})
DISPLEASURE = frozenset({"complaint_made", "refunded", "downgraded", "cancelled"})
SCORED = frozenset({"survey_answered", "review_posted"})
RELEVANT_TYPES = PURCHASES | APPROVAL | DISPLEASURE | SCORED
"""The types of touchpoint that the motive depends on."""

HABIT_PURCHASES = 3
"""Purchases that it takes to see a rhythm."""
EVEN = 0.5
"""Intervals are even when their standard deviation is at most this share of their mean."""

Motive = Literal["curiosity", "habit", "value"]
Mood = Literal["approval", "indifference", "displeasure"]


@dataclass(frozen=True, slots=True)
class MotiveAnalysis:
    """A customer's motive and the reasons for it.

    Attributes:
        days_between: median days between two purchases; None with fewer than two.
        evenness: standard deviation of the intervals divided by their mean (0: perfectly regular); None with fewer
            than three purchases, and for purchases at one instant.
        mood: the latest feedback; None without feedback.
    """

    motive: Motive
    because: tuple[str, ...]
    purchases: int
    days_between: float | None
    evenness: float | None
    mood: Mood | None
    said_at: int | None


def mood_of(touchpoint: Touchpoint) -> Mood | None:
    """The mood that a touchpoint expresses; None when it expresses none.

    Survey scores on the promoter scale: 9–10 approval, 7–8 indifference, 0–6 displeasure. Ratings from 1 to 5: 4–5, 3,
    1–2.
    """
    if touchpoint.type in APPROVAL:
        return "approval"
    if touchpoint.type in DISPLEASURE:
        return "displeasure"
    if touchpoint.type == "survey_answered":
        return _by(touchpoint.properties.get("score"), approval=9, indifference=7)
    if touchpoint.type == "review_posted":
        return _by(touchpoint.properties.get("rating"), approval=4, indifference=3)
    return None


def _by(number: Any, approval: float, indifference: float) -> Mood | None:
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    return "approval" if number >= approval else "indifference" if number >= indifference else "displeasure"


def analyse_motive(touchpoints: Sequence[Touchpoint]) -> MotiveAnalysis:
    """The motive of a customer from their touchpoints in order. Only those of `RELEVANT_TYPES` count."""
    counted = [point for point in touchpoints if not point.machine and point.type in RELEVANT_TYPES]
    bought = [point.occurred_at for point in counted if point.type in PURCHASES]
    moods = [(point, mood) for point in counted if (mood := mood_of(point)) is not None]
    last, mood = moods[-1] if moods else (None, None)
    days = [(later - earlier) / DAY for earlier, later in pairwise(bought)]
    evenness = pstdev(days) / mean(days) if len(bought) >= HABIT_PURCHASES and mean(days) else None
    motive, because = _judge(len(bought), evenness, None if last is None else last.type, mood)
    return MotiveAnalysis(
        motive,
        tuple(because),
        len(bought),
        median(days) if days else None,
        evenness,
        mood,
        None if last is None else last.occurred_at,
    )


def _judge(bought: int, evenness: float | None, last: str | None, mood: Mood | None) -> tuple[Motive, list[str]]:
    times = {0: "nothing bought yet", 1: "bought once"}.get(bought, f"bought {bought} times")
    words = "nothing said yet" if last is None else f"the last they said was {mood} ({last})"
    because = [times, words]
    if bought and mood == "approval":
        return "value", because
    if bought < HABIT_PURCHASES:
        return "curiosity", because
    if evenness is None:
        return "curiosity", [*because, "all at once"]
    if evenness <= EVEN:
        return "habit", [*because, "at even intervals"]
    return "curiosity", [*because, f"at uneven intervals (they vary by {evenness:.0%} of their mean)"]
