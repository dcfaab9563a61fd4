"""Charts are plain JSON; text from outside is never taken for a colour or a format; flows have no cycle."""

import json
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st
from touchline_console.core.board import board
from touchline_console.core.charts import movement, statistics
from touchline_console.core.charts.timeline import timeline
from touchline_console.entrypoints.http.rendering import embedded_json

NAMES = ("a", "b", "c", "d", "x")
words = st.text(max_size=30) | st.sampled_from(["$accent", "@percent", "\\x", "</script><b>", "{{ x }}"])


def texts(options: Any) -> list[str]:
    """Every text in options."""
    if isinstance(options, dict):
        return [text for value in options.values() for text in texts(value)]
    if isinstance(options, list):
        return [text for value in options for text in texts(value)]
    return [options] if isinstance(options, str) else []


OURS = {
    "$accent", "$accent/0.12", "$accent-soft", "$advance", "$regress", "$lapse", "$stall", "$ink", "$muted", "$line",
    "$line-strong", "$raised", "$surface", "$faint", "$on-accent", "@percent", "@number", "@days", "@day", "@ownLabel",
    "@ownTip", "@axisTip", "@shareTip",
}  # fmt: skip


def assert_harmless(options: Any) -> None:
    """Only texts of our own may begin as a colour or a format does."""
    json.dumps(options)
    for text in texts(options):
        assert text[:1] not in ("$", "@") or text in OURS, text


moves = st.lists(
    st.tuples(
        st.none() | st.sampled_from(NAMES),
        st.sampled_from(NAMES),
        st.sampled_from(["enter", "advance", "regress", "renew", "lapse"]),
        st.integers(0, 50),
    ),
    max_size=25,
)


@given(moves, st.dictionaries(st.sampled_from(NAMES), words))
def test_flows_never_form_a_cycle(drawn: list[tuple[str | None, str, str, int]], titles: dict[str, str]) -> None:
    rows = [
        {"from_stage": a, "to_stage": b, "move": kind, "moves": n, "customers": n, "median_seconds": 1.0}
        for a, b, kind, n in drawn
    ]
    options = movement.flows(rows, titles, NAMES)
    if options is None:
        return
    assert_harmless(options)
    (series,) = options["series"]
    names = [node["name"] for node in series["data"]]
    assert len(set(names)) == len(names)
    after: dict[str, set[str]] = {name: set() for name in names}
    for link in series["links"]:
        after[link["source"]].add(link["target"])
    left = dict(after)
    while left:
        ends = {name for name, targets in left.items() if not targets & left.keys()}
        assert ends, "a cycle"
        left = {name: targets for name, targets in left.items() if name not in ends}


@given(st.lists(st.tuples(words, st.integers(0, 9)), min_size=1, max_size=12))
def test_titles_in_charts_are_texts(drawn: list[tuple[str, int]]) -> None:
    steps = [
        {"stage": str(i), "title": title, "reached": n, "conversion_from_previous": 0.5, "conversion_overall": None}
        for i, (title, n) in enumerate(drawn)
    ]
    assert_harmless(movement.funnel(steps, steps))
    assert_harmless(statistics.bars([(title, n, title) for title, n in drawn]))
    assert_harmless(movement.population(["2026-01-01"], [(title, [n]) for title, n in drawn]))
    rows = [
        {"title": title, "outbound": n, "inbound": n, "feedback": n, "stalled": n, "left_back": n} for title, n in drawn
    ]
    assert_harmless(statistics.effort(rows))
    assert_harmless(statistics.lost(rows))


@given(words, words, words)
def test_a_timelines_texts_are_texts(channel: str, kind: str, text: str) -> None:
    point = {
        "channel": channel, "type": kind, "text": text, "direction": "inbound", "occurred_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    bands = [(kind, "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", 3)]
    facts = [{"at": "2026-01-02T00:00:00Z", "kind": "stall", "text": text}]
    actions = [{"at": "2026-01-02T00:00:00Z", "text": text, "outcome": "sent"}]
    assert_harmless(timeline([point], bands, facts, actions))


@given(
    st.recursive(
        words | st.integers(-9, 9), lambda inner: st.lists(inner) | st.dictionaries(words, inner), max_leaves=8
    )
)
def test_data_of_a_page_can_not_end_its_block(value: Any) -> None:
    text = str(embedded_json(value))
    assert "<" not in text
    assert "&" not in text
    assert orjson.loads(text) == value


def test_a_board_says_who_moved_on_and_who_came_back() -> None:
    funnel: dict[str, Any] = {
        "stages": [
            {"stage": "a", "title": "A", "customers": 3, "stalled": 1, "conversion_from_previous": None},
            {"stage": "b", "title": "B", "customers": 0, "stalled": 0, "conversion_from_previous": 0.5},
        ],
        "off_path": [{"stage": "x", "title": "X", "customers": 2, "stalled": 2}],
    }
    flows: list[dict[str, Any]] = [
        {"from_stage": None, "to_stage": "a", "move": "enter", "moves": 8},
        {"from_stage": "a", "to_stage": "b", "move": "advance", "moves": 4},
        {"from_stage": "b", "to_stage": "a", "move": "regress", "moves": 1},
    ]
    first, second, beside = board(funnel, flows, {}, {"a": 9.0})
    assert (first.moved_on, first.went_back, first.stalled_share, first.median_seconds) == (None, 0.0, 1 / 3, 9.0)
    assert (second.moved_on, second.went_back, second.stalled_share) == (0.5, 0.25, 0.0)
    assert (beside.off_path, beside.stalled_share) == (True, 1.0)
