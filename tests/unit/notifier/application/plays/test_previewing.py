"""What a preview reports, and by which plays it decides."""

from datetime import timedelta
from typing import Any

import orjson
from touchline_notifier.application.plays.previewing import PreviewOrder, RecordedSample, order_texts, report
from touchline_notifier.application.plays_in_force import PlaySource
from touchline_notifier.core.decisions.customer_history import CustomerHistory
from touchline_notifier.core.plays.preview import RecordedFact, preview

from tests.support.notifier.builders import NOON, a_decider, a_play, a_stall


def text(name: str, more: str = "") -> str:
    when = "{fact: customer-stalled}"
    return f"play: {name}\nwhen: {when}\naction: {{channel: webhook, body: Hello}}\n{more}"


def reported(customers: int, examples: int) -> dict[str, Any]:
    """Of stalled customers of whom those with an odd number would be sent something, and another play beside it."""
    play = a_play(hold_out=0.5)
    numbers = range(1, customers + 1)
    facts = [RecordedFact(a_stall(n, customer_id=f"c-{n}"), NOON + timedelta(minutes=n)) for n in numbers]
    histories = {f"c-{n}": CustomerHistory(f"c-{n}") for n in numbers}
    found = preview(
        a_decider(play, a_play("another")), facts, histories, until=NOON + timedelta(days=1), to_customers=frozenset()
    )
    order = PreviewOrder("win-back", [], 7, examples=examples)
    return report(order, RecordedSample(facts, NOON - timedelta(days=7), NOON, 0.25), found)


def test_every_action_is_counted_once_by_outcome_and_reason_and_the_newest_are_shown() -> None:
    whole = reported(40, 500)
    assert (whole["actions"], whole["facts"], whole["customers"], whole["share"]) == (40, 40, 40, 0.25)
    counts = {(one["outcome"], one["reason"]): one["actions"] for one in whole["outcomes"]}
    assert counts.keys() == {("would_be_sent", None), ("held_out", "hold_out")}
    assert sum(counts.values()) == len(whole["items"]) == 40
    few = reported(40, 3)
    assert few["outcomes"] == whole["outcomes"]
    assert [one["outcome"] for one in few["items"]] == ["would_be_sent"] * 3 + ["held_out"] * 3
    for outcome, shown in (("would_be_sent", few["items"][:3]), ("held_out", few["items"][3:])):
        assert shown == [one for one in whole["items"] if one["outcome"] == outcome][:3]
        assert shown == sorted(shown, key=lambda one: one["at"], reverse=True)
    assert few["items"][0]["body"] == f"Hello {few['items'][0]['customer_id']}"
    assert few["items"][-1]["body"] is None


def test_a_preview_decides_by_the_draft_next_to_the_plays_that_are_on() -> None:
    sources = {
        "win-back": PlaySource(text("win-back"), 3, switched_on=False),
        "other": PlaySource(text("other"), 1),
        "off": PlaySource(text("off"), 1, switched_on=False),
        "resting": PlaySource(text("resting", "enabled: false\n"), 1),
        "wrong": PlaySource("play: wrong\n", 1, switched_on=False),
    }
    order = PreviewOrder("win-back", order_texts(sources, "win-back", text("win-back", "priority: 7\n")), 7, "c-1")
    again = PreviewOrder.from_json(orjson.loads(orjson.dumps(order.as_json())))
    assert again == order
    plays = again.plays()
    assert {name: play.enabled for name, play in plays.items()} == {
        "win-back": True, "other": True, "off": False, "resting": False,
    }  # fmt: skip
    assert plays["win-back"].priority == 7
    # A draft that is off is previewed as if it were on.
    (play,) = PreviewOrder("new", order_texts({}, "new", text("new", "enabled: false\n")), 1).plays().values()
    assert play.enabled
