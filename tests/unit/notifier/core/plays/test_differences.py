"""What one version of a play changes in the meaning of another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_notifier.core.plays.differences import differences, play_of
from touchline_runtime.yaml.positions import FaultyDocumentError

TEXT = """
play: win-back
when: {fact: customer-stalled, stage: [retention]}
action: {channel: webhook, endpoint: crm, body: Hello}
"""


def test_each_value_that_differs_is_named_with_its_path() -> None:
    after = TEXT.replace("[retention]", "[retention, advocacy]").replace("endpoint: crm, ", "") + (
        "limits: {max_age: 2d}\nenabled: false\n"
    )
    found = {one.where: one.text for one in differences(play_of(TEXT), play_of(after))}
    assert found["when.stage"] == "['retention'] → ['retention', 'advocacy']"
    assert found["action.endpoint"] == "crm → none"
    assert found["enabled"] == "true → false"
    assert set(found) == {"when.stage", "action.endpoint", "limits.max_age", "enabled"}


def test_comments_order_and_values_that_are_the_default_are_no_difference() -> None:
    other = """
# ours
action: {endpoint: crm, body: Hello}
enabled: true
priority: 0
play: win-back
when: {stage: retention, fact: customer-stalled}
"""
    assert differences(play_of(TEXT), play_of(other)) == []


@given(st.integers(-1000, 1000), st.integers(-1000, 1000), st.sampled_from(["0", "10%", "0.5"]))
def test_two_plays_differ_exactly_when_their_models_do(one: int, two: int, share: str) -> None:
    before = play_of(f"{TEXT}priority: {one}\nhold_out: {share}\n")
    after = play_of(f"{TEXT}priority: {two}\nhold_out: {share}\n")
    assert (differences(before, after) == []) == (before == after) == (one == two)


def test_a_long_text_is_shown_by_its_length_and_a_short_one_whole() -> None:
    before, after = (f'{TEXT}templates: {{brand.html: "{letter * 1500}"}}\n' for letter in "ab")
    (found,) = differences(play_of(before), play_of(after))
    assert found.where == "templates.brand.html"
    assert found.text == "a text of 1,500 characters → a text of 1,500 characters"


def test_a_wrong_text_is_refused_with_its_lines() -> None:
    with pytest.raises(FaultyDocumentError) as refused:
        play_of(TEXT.replace("customer-stalled", "never"), "draft.yaml")
    assert [(fault.line, fault.path) for fault in refused.value.faults] == [(3, "when.fact")]


def test_a_sequence_differs_step_by_step() -> None:
    text = TEXT.replace("action: {", "steps:\n  - send: {") + (
        "  - wait: 3d\n  - wait_until: {touchpoint: purchased, within: 5d}\n"
        "  - branch: {on: happened, then: [{send: {channel: webhook, endpoint: crm, body: Thanks}}]}\n"
    )
    after = text.replace("wait: 3d", "wait: 2d").replace("body: Thanks", "body: Many thanks")
    found = {one.where: one.text for one in differences(play_of(text), play_of(after))}
    assert found == {"steps.2.wait": "3d → 2d", "steps.4.branch.then.1.send.body": "Thanks → Many thanks"}
    whole = {one.where for one in differences(play_of(TEXT), play_of(text))}
    assert {"action.body", "steps.1.send.body", "steps.2.wait"} <= whole
