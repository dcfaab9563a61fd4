"""The reading of where the company is in a customer's mind: do they buy out of curiosity, by habit, or for the value?

Worked out from purchases and from what the customer said, newest words first, and never without the reasons:

- approval after a purchase reads as *value*: they say that what they get is good;
- purchases again and again at even intervals, without such words, read as *habit*: a better offer may win them;
- everything else reads as *curiosity*: nothing bought yet, or bought once, or now and then.

Words of displeasure newer than the approval take the *value* away: what is left is habit or curiosity.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean, median, pstdev
from typing import Any, Literal

from touchline_schemas.durations import DAY

from touchline_stage_engine.core.touchpoint import Touchpoint

PURCHASES = frozenset({"purchased", "renewed", "upgraded"})
APPROVAL = frozenset({"testimonial_given", "referral_made", "upgraded"})
DISPLEASURE = frozenset({"complaint_made", "refunded", "downgraded", "cancelled"})
SCORED = frozenset({"survey_answered", "review_posted"})
READ = PURCHASES | APPROVAL | DISPLEASURE | SCORED
"""The types a reading looks at."""

HABIT_PURCHASES = 3
"""From this many purchases on, a rhythm can be seen."""
EVEN = 0.5
"""Intervals are even when they vary by no more than this share of their mean (standard deviation)."""

Mind = Literal["curiosity", "habit", "value"]
Mood = Literal["approval", "indifference", "displeasure"]


@dataclass(frozen=True, slots=True)
class Reading:
    """Where the company is in the customer's mind, and how that was reached.

    days_between: median days between two purchases; None with fewer than two.
    evenness: standard deviation of those intervals by their mean, 0 being like clockwork; None with fewer than three
        purchases, and for purchases all at once.
    mood: what the customer last said; None where they have said nothing.
    """

    mind: Mind
    because: tuple[str, ...]
    purchases: int
    days_between: float | None
    evenness: float | None
    mood: Mood | None
    said_at: int | None


def mood_of(touchpoint: Touchpoint) -> Mood | None:
    """What a touchpoint says of the customer's mood; None for one that says nothing.

    Surveys by the promoter scale: 9–10 approval, 7–8 indifference, 0–6 displeasure; ratings from 1 to 5: 4–5, 3, 1–2.
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


def read_mind(touchpoints: Sequence[Touchpoint]) -> Reading:
    """The reading of a customer from their touchpoints, given in order; those that say nothing may be left out."""
    counted = [one for one in touchpoints if not one.machine and one.type in READ]
    bought = [one.occurred_at for one in counted if one.type in PURCHASES]
    said = [(one, mood) for one in counted if (mood := mood_of(one)) is not None]
    last, mood = said[-1] if said else (None, None)
    days = [(later - earlier) / DAY for earlier, later in pairwise(bought)]
    evenness = pstdev(days) / mean(days) if len(bought) >= HABIT_PURCHASES and mean(days) else None
    mind, because = _judge(len(bought), evenness, None if last is None else last.type, mood)
    return Reading(
        mind,
        tuple(because),
        len(bought),
        median(days) if days else None,
        evenness,
        mood,
        None if last is None else last.occurred_at,
    )


def _judge(bought: int, evenness: float | None, last: str | None, mood: Mood | None) -> tuple[Mind, list[str]]:
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
