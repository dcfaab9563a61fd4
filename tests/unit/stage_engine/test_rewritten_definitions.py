"""A definition's header is changed and the rest of its text stays; versions are compared by meaning."""

from itertools import product

import pytest
from touchline_stage_engine import builtin
from touchline_stage_engine.core.definitions.differences import differences
from touchline_stage_engine.core.definitions.parse import read_definition
from touchline_stage_engine.core.definitions.rewrite import with_header

PLAIN = """\
# Ours.
lifecycle: trial   # a name
version: 1   # raise it
stages:
  - name: a   # first
    rules:
      - {when: [page_viewed], count: 3, to: next}
  - name: b
"""
FLOW = "{lifecycle: trial, version: 1, stages: [{name: a, rules: [{when: [x], to: next}]}, {name: b}]}"
QUOTED = PLAIN.replace("version:", '"version":')
LAST = "lifecycle: trial\nstages: [{name: a}]\nversion: 1"
WITH_ALL = PLAIN.replace("version: 1", 'version: 1\non_change: refold\neffective_from: "2026-01-01T00:00:00Z"')
Header = dict[str, int | str | None]
HEADERS: list[Header] = [
    dict(zip(("version", "on_change", "effective_from"), values, strict=True))
    for values in product((1, 7), ("pin", "refold", None), ("2026-03-01T12:00:00Z", None))
]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("text", [PLAIN, FLOW, QUOTED, LAST, WITH_ALL, *map(builtin.text_of, builtin.NAMES)])
def test_the_header_says_what_it_should_and_the_rest_means_the_same(text: str, header: Header) -> None:
    before = read_definition(text, "")
    after = read_definition(with_header(text, before, header), "")
    assert after.version == header["version"]
    assert after.on_change == (header["on_change"] or "pin")
    assert after.effective_from == header["effective_from"]
    assert differences(before, after) == []


def test_comments_and_layout_stay() -> None:
    definition = read_definition(WITH_ALL, "")
    assert with_header(WITH_ALL, definition, {"version": 2, "on_change": None, "effective_from": None}) == (
        PLAIN.replace("version: 1   # raise it", "version: 2")
    )
    assert with_header(PLAIN, read_definition(PLAIN, ""), {"version": 1}) == PLAIN


def test_every_change_of_meaning_is_named() -> None:
    before = read_definition(PLAIN, "")
    cases = {
        "count: 3": ("count: 4", "stages.a", "new rule to next: `page_viewed`, 4 times"),
        "  - name: b": ("  - name: b\n    stall: {after: 3d}", "stages.b", "stall: none → 3d"),
        "to: next}": ("to: next}\n    lapse: {after: 9d, to: b}", "stages.a", "lapse: none → to b after 9d"),
        "name: b": ("name: c", "stages.c", "added"),
        "version: 1": ("version: 1\ncyclic: true", "lifecycle", "cyclic: false → true"),
        "stages:": ("passive: [looked]\nstages:", "lifecycle", "passive types: none → looked"),
        "a   #": ("a\n    title: First  #", "stages.a", "title: a → First"),
    }
    for old, (new, where, text) in cases.items():
        found = differences(before, read_definition(PLAIN.replace(old, new), ""))
        assert (where, text) in [tuple(one) for one in found], (new, found)
