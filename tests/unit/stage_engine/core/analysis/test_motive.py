"""Where the company is in a customer's mind, and the reasons given for it."""

from typing import Any

import pytest
from touchline_schemas.definitions.durations import DAY
from touchline_stage_engine.core.analysis.motive import Mood, analyse_motive, mood_of
from touchline_stage_engine.core.touchpoint import Touchpoint


def one(day: float, kind: str, machine: bool = False, **properties: object) -> Touchpoint:
    return Touchpoint(int(day * DAY), f"{kind}-{day}", "s", kind, "other", "inbound", properties, machine=machine)


def test_who_has_bought_nothing_is_curious() -> None:
    reading = analyse_motive([one(1, "page_viewed"), one(2, "survey_answered", score=10)])
    assert (reading.motive, reading.purchases, reading.mood) == ("curiosity", 0, "approval")
    assert reading.because == ("nothing bought yet", "the last they said was approval (survey_answered)")


def test_one_purchase_without_a_word_is_curiosity_still() -> None:
    reading = analyse_motive([one(1, "purchased")])
    assert (reading.motive, reading.because) == ("curiosity", ("bought once", "nothing said yet"))


def test_purchases_like_clockwork_without_praise_are_habit() -> None:
    reading = analyse_motive([one(day, "purchased") for day in (0, 30, 61, 90)])
    assert reading.motive == "habit"
    assert reading.days_between == 30
    assert reading.evenness is not None
    assert reading.evenness < 0.05
    assert "at even intervals" in reading.because


def test_purchases_now_and_then_are_curiosity() -> None:
    reading = analyse_motive([one(day, "purchased") for day in (0, 1, 2, 200)])
    assert reading.motive == "curiosity"
    assert any("uneven" in reason for reason in reading.because)


def test_three_purchases_in_one_basket_are_no_habit() -> None:
    assert analyse_motive([one(5, "purchased")] * 3).because[-1] == "all at once"


@pytest.mark.parametrize(
    "praise", [one(40, "testimonial_given"), one(40, "survey_answered", score=9), one(40, "upgraded")]
)
def test_praise_after_a_purchase_reads_as_value(praise: Touchpoint) -> None:
    assert analyse_motive([one(0, "purchased"), praise]).motive == "value"


def test_a_setback_takes_the_value_away_and_new_praise_brings_it_back() -> None:
    life = [one(0, "purchased"), one(30, "renewed"), one(60, "renewed"), one(61, "referral_made")]
    assert analyse_motive(life).motive == "value"
    life.append(one(70, "complaint_made"))
    assert (analyse_motive(life).motive, analyse_motive(life).mood) == ("habit", "displeasure")
    life.append(one(80, "survey_answered", score=10))
    assert analyse_motive(life).motive == "value"


def test_what_a_machine_did_says_nothing() -> None:
    assert analyse_motive([one(0, "purchased", machine=True)]).purchases == 0


@pytest.mark.parametrize(
    ("kind", "properties", "mood"),
    [
        ("survey_answered", {"score": 9}, "approval"),
        ("survey_answered", {"score": 8.9}, "indifference"),
        ("survey_answered", {"score": 7}, "indifference"),
        ("survey_answered", {"score": 6}, "displeasure"),
        ("survey_answered", {"score": True}, None),
        ("survey_answered", {"score": "10"}, None),
        ("survey_answered", {}, None),
        ("review_posted", {"rating": 4}, "approval"),
        ("review_posted", {"rating": 3}, "indifference"),
        ("review_posted", {"rating": 1}, "displeasure"),
        ("refunded", {}, "displeasure"),
        ("purchased", {}, None),
    ],
)
def test_words_are_read_by_their_scale(kind: str, properties: dict[str, Any], mood: Mood | None) -> None:
    assert mood_of(one(1, kind, **properties)) == mood
