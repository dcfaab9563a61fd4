"""The diagrams of lifecycles and the schema for editors say what the definitions say."""

import pytest
from jsonschema import Draft202012Validator
from touchline_runtime.yaml.text import read_document
from touchline_stage_engine import builtin
from touchline_stage_engine.core.definitions.diagram import draw
from touchline_stage_engine.core.definitions.model import json_schema
from touchline_stage_engine.core.definitions.parse import read_definition


def test_editors_accept_what_ships() -> None:
    Draft202012Validator.check_schema(json_schema())
    validator = Draft202012Validator(json_schema())
    for name in builtin.NAMES:
        value, _ = read_document(builtin.text_of(name), name)
        assert [error.message for error in validator.iter_errors(value)] == []


@pytest.mark.parametrize(
    "stage",
    [
        {"nam": "a"},
        {"name": "a", "stall": {"after": "14"}},
        {"name": "a", "rules": [{"to": "b"}]},
        {"name": "a", "rules": [{"when": [], "to": "b"}]},
        {"name": "a", "rules": [{"when": "t", "all": [{"when": "t"}], "to": "b"}]},
        {"name": "a", "rules": [{"when": "t", "where": {"properties.x": {"less": 3}}, "to": "b"}]},
    ],
)
def test_editors_refuse_what_cannot_be_read(stage: dict[str, object]) -> None:
    value = {"lifecycle": "s", "version": 1, "stages": [stage]}
    assert not Draft202012Validator(json_schema()).is_valid(value)


def test_a_diagram_shows_each_stage_rule_lapse_and_patience() -> None:
    text = """
lifecycle: shop
version: 1
cyclic: true
rules:
  - {when: complained, to: angry, reason: "not amused: at all"}
  - {when: survey, to: previous}
stages:
  - {name: end, title: "The \\"end\\"", stall: {after: 3d, then: [5d]}, rules: [{when: bought, count: 2, to: next}]}
  - {name: a-b, lapse: {after: 9d, to: end}, rules: [{when: bought, to: next, reason: again}]}
off_path:
  - {name: angry}
"""
    assert draw(read_definition(text, "shop.yaml")) == (
        "stateDiagram-v2\n"
        "    direction LR\n"
        "    state \"The 'end'\" as stage_end\n"
        '    state "a-b" as stage_a_b\n'
        '    state "angry" as stage_angry\n'
        "    [*] --> stage_end\n"
        "    stage_end --> stage_a_b : 2 times bought\n"
        "    note right of stage_end : stalls after 3d, 5d\n"
        "    stage_a_b --> stage_end : again<br>lapses after 9d\n"
        '    state "any stage" as anywhere\n'
        "    anywhere --> stage_angry : not amused - at all\n"
        "    anywhere --> anywhere : previous, survey\n"
    )
