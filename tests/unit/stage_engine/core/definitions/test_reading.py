"""What a definition's text may be, and what its author is told when it may not."""

import pytest
from touchline_runtime.yaml.positions import Fault, FaultyDocumentError
from touchline_stage_engine import builtin
from touchline_stage_engine.core.definitions.model import Definition
from touchline_stage_engine.core.definitions.parse import read_definition

HEAD = "lifecycle: shop\nversion: 1\n"


def faults(text: str) -> tuple[Fault, ...]:
    with pytest.raises(FaultyDocumentError) as caught:
        read_definition(text, "shop.yaml")
    return caught.value.faults


def only(text: str) -> Fault:
    (fault,) = faults(text)
    return fault


def stages(*stages: str, top: str = "") -> str:
    """A definition of these stages; the first stands on line 5."""
    return HEAD + (top or "title: Shop") + "\nstages:\n" + "".join(f"  - {stage}\n" for stage in stages)


def test_a_name_may_stand_for_a_list_of_one_and_a_literal_for_eq() -> None:
    short = stages(
        "{name: a, stall: {after: 3d, then: 4d}, rules: [{when: t, channel: web, where: {properties.x: 3}, to: b}]}",
        "{name: b}",
    )
    long = stages(
        "{name: a, stall: {after: 3d, then: [4d]},"
        " rules: [{when: [t], channel: [web], where: {properties.x: {eq: 3}}, to: b}]}",
        "{name: b}",
    )
    assert read_definition(short, "f").fingerprint == read_definition(long, "f").fingerprint


def test_yaml_is_read_as_1_2_whatever_it_says_of_itself() -> None:
    text = "%YAML 1.1\n---\n" + stages(
        "{name: on, rules: [{when: [yes], where: {properties.t: 21:00, properties.d: 2026-03-01}, to: off}]}",
        "{name: off}",
    )
    definition = read_definition(text, "f")
    assert [stage.name for stage in definition.stages] == ["on", "off"]
    (rule,) = definition.stages[0].rules
    assert rule.when == ["yes"]
    assert rule.where is not None
    assert {path: operators.given() for path, operators in rule.where.items()} == {
        "properties.t": {"eq": "21:00"},
        "properties.d": {"eq": "2026-03-01"},
    }


@pytest.mark.parametrize(
    "stage",
    [
        "{name: a, stall: {after: 14}}",
        "{name: a, stall: {after: 3d, then: [14]}}",
        "{name: a, lapse: {after: 14, to: b}}",
        "{name: a, rules: [{when: [t], count: 2, within: 14, to: b}]}",
    ],
)
def test_a_length_of_time_without_a_unit_is_told_which_there_are(stage: str) -> None:
    fault = only(stages(stage, "{name: b}"))
    assert (fault.line, fault.message, fault.instead) == (5, "'14' has no unit", "write one of s m h d w, such as 14d")


def test_two_texts_of_one_version_are_told_apart_by_what_they_say() -> None:
    one, comment, other = stages("{name: a}"), stages("{name: a}") + "# a remark\n", stages("{name: b}")
    fingerprints = [read_definition(text, "f").fingerprint for text in (one, comment, other)]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_a_definition_survives_being_stored_as_json() -> None:
    for name in builtin.NAMES:
        definition = read_definition(builtin.text_of(name), name)
        stored = definition.model_dump_json(by_alias=True, exclude_unset=True)
        assert Definition.model_validate_json(stored) == definition


@pytest.mark.parametrize(
    ("text", "line", "path", "says"),
    [
        ("", 1, "", "empty"),
        ("- a", 1, "", "not a lifecycle"),
        ("a: [", 1, "", "not YAML"),
        ("a: 1\nb: 2\na: 3", 3, "a", "twice"),
        ("a: 1\nb: .inf", 2, "b", "finite"),
        ("a: 1\nb: " + "9" * 5000, 2, "b", "finite"),
        ("[" * 500, 1, "", "nested too deeply"),
        ("a: 1\nb: \x00", 2, "", "not YAML"),
        ("a: 1\nb: 1e999", 2, "b", "finite"),
        ("a: 1\n3: 2", 2, "3", "in quotes"),
        ("a: &x\n  - *x", 1, "a[0]", "itself"),
        ("<<: {a: 1}\n" + stages("{name: a}"), 1, "<<", "YAML 1.2"),
        (HEAD, 1, "stages", "add stages:"),
        (HEAD + "stages: []", 3, "stages", "empty"),
        ("lifecycle: a/b\nversion: 1\nstages: [{name: a}]", 1, "lifecycle", "not a name"),
        ('lifecycle: a\nversion: "1"\nstages: [{name: a}]', 2, "version", "a whole number"),
        ("lifecycle: a\nversion: 0\nstages: [{name: a}]", 2, "version", "1 or more"),
        (stages("{name: a}", top="cyclic: yes"), 3, "cyclic", "true or false"),
        (stages("{name: a}", top="on_change: migrate"), 3, "on_change", "'pin' or 'refold'"),
        (stages("{name: a}", top="effective_from: 2026-03-01"), 3, "effective_from", "with a zone"),
        (stages("{name: a}", top="stage: b"), 3, "stage", "did you mean stages?"),
        (stages("{name: 7}"), 5, "stages[0].name", "in quotes"),
        (stages("{name: a, stal: {after: 3d}}"), 5, "stages[0].stal", "did you mean stall?"),
        (stages("{name: a, stall: {}}"), 5, "stages[0].stall.after", "add after:"),
        (stages("{name: a, stall: {after: 0d}}"), 5, "stages[0].stall.after", "above zero"),
        (stages("{name: a, stall: {after: 3}}"), 5, "stages[0].stall.after", "no unit; write one of s m h d w"),
        (stages("{name: a, stall: {after: 3x}}"), 5, "stages[0].stall.after", "write 30m"),
        (stages("{name: a, rules: [{when: t}]}"), 5, "stages[0].rules[0].to", "add to:"),
        (stages("{name: a, rules: [{when: [], to: b}]}", "{name: b}"), 5, "stages[0].rules[0].when", "at least one"),
        (stages("{name: a, rules: [{all: [], to: b}]}", "{name: b}"), 5, "stages[0].rules[0].all", "at least one"),
        (stages("{name: a, rules: [{when: t, count: 0, to: b}]}"), 5, "stages[0].rules[0].count", "1 or more"),
        (stages("{name: a, rules: [{when: t, count: true, to: b}]}"), 5, "stages[0].rules[0].count", "whole number"),
        (stages("{name: a, rules: [{when: t, within: 0h, to: b}]}"), 5, "stages[0].rules[0].within", "above zero"),
        (stages("{name: a, rules: [{when: t, reason: well, done, to: b}]}"), 5, "stages[0].rules[0].done", "quotes"),
        (
            stages("{name: a, rules: [{when: t, where: {properties.x: {less: 3}}, to: b}]}"),
            5,
            'stages[0].rules[0].where["properties.x"].less',
            "eq, ne, lt, lte, gt, gte, in, exists",
        ),
        (
            stages("{name: a, rules: [{when: t, where: {properties.x: [3]}, to: b}]}"),
            5,
            'stages[0].rules[0].where["properties.x"]',
            "in: [a, b]",
        ),
    ],
)
def test_a_fault_is_told_with_file_line_path_and_what_to_write(text: str, line: int, path: str, says: str) -> None:
    fault = only(text)
    assert (fault.file, fault.line, fault.path) == ("shop.yaml", line, path)
    assert says in str(fault)
    assert str(fault).startswith(f"shop.yaml:{line}: ")


def test_every_fault_is_told_at_once() -> None:
    text = stages("{name: a, stall: {after: 0d}}", "{nam: b}")
    assert [fault.path for fault in faults(text)] == ["stages[0].stall.after", "stages[1].name", "stages[1].nam"]
