"""The kind: a page that says a fact of the engine by its code, or a value that only a program reads."""

from typing import Any

import pytest
from touchline_console.application.titles import Titles
from touchline_console.core import formats, words
from touchline_console.core.health import health

STAGES = [{"name": name, "title": name.title()} for name in ("new", "active", "loyal")]
TITLES = Titles([{"name": "life", "title": "Life", "stages": STAGES, "off_path": [{"name": "gone", "title": "Gone"}]}])
CYCLE = Titles([{"name": "life", "title": "Life", "stages": STAGES, "off_path": [], "cyclic": True}])


@pytest.mark.parametrize(
    ("moves", "said"),
    [
        (["regress"], "customer moves back"),
        (["advance"], "customer moves on"),
        (["regress", "lapse"], "customer moves back or lapses"),
        ("renew", "customer begins the cycle again"),
        (["enter"], "customer enters"),
        (None, "customer moves"),
    ],
)
def test_a_play_says_its_moves_in_words(moves: Any, said: str) -> None:
    assert words.play_when({"fact": "stage-changed", "move": moves}, TITLES) == said
    to_stage = words.play_when({"fact": "stage-changed", "move": moves, "lifecycle": "life", "stage": "loyal"}, TITLES)
    assert to_stage == f"{said} to Loyal"


def test_a_stall_is_in_a_stage() -> None:
    when = {"fact": "customer-stalled", "lifecycle": "life", "stage": ["new", "active"], "level": 1}
    assert words.play_when(when, TITLES) == "customer stalls in New or Active, level 1"


def test_a_verdict_that_all_measures_share_is_said_once() -> None:
    few, works = {"verdict": "too few to say"}, {"verdict": "works"}
    assert words.verdict({"recovered": few, "returned": few}) == "Too few customers to say."
    assert words.verdict({"recovered": few, "returned": works}).startswith("Recovered: too few customers to say. Ret")
    assert words.verdict({"recovered": few}) == "Recovered: too few customers to say."


def test_what_a_change_did_is_readable() -> None:
    assert words.pairs({"sha256": "0a" * 32, "version": 2, "on_change": None}) == "sha256: 0a0a0a0a…, version: 2"
    assert words.pairs({"suppressed": False}) == "suppressed: no"
    assert words.pairs(None) == ""


@pytest.mark.parametrize(
    ("text", "shown"), [("2026-11", "November 2026"), ("2026-01", "January 2026"), ("2026-13", "2026-13"), ("x", "x")]
)
def test_months_have_names(text: str, shown: str) -> None:
    assert formats.month(text) == shown


@pytest.mark.parametrize(
    ("source", "target", "back", "back_in_a_cycle"),
    [
        ("loyal", "active", True, True),
        ("active", "loyal", False, False),
        ("loyal", "new", True, False),
        ("active", "new", True, True),
        ("gone", "new", False, False),
        ("new", "gone", False, False),
    ],
)
def test_which_moves_lead_back(source: str, target: str, back: bool, back_in_a_cycle: bool) -> None:
    assert TITLES.is_back("life", source, target) is back
    assert CYCLE.is_back("life", source, target) is back_in_a_cycle
    assert not TITLES.is_back("unknown", source, target)


def test_the_strip_of_health_names_what_waits_and_what_delivers() -> None:
    found = health(
        engine={"lag": 3, "outbox_waiting": 0, "partitions": []},
        dead_letters={"total": 5, "last_day": 5},
        endpoints=[{"breaker": "closed"}, {"breaker": "open"}],
        sending={"sending": True},
    )
    assert [(signal.text, signal.good) for signal in found] == [
        ("3 touchpoints waiting", True),
        ("5 dead letters: not understood, and kept", False),
        ("1 of 2 endpoints deliver", False),
        ("sending is on", True),
    ]
