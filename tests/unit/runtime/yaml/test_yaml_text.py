"""What a YAML text says, where each part of it stands, and what is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touchline_runtime.yaml.positions import Fault, FaultyDocumentError, SourcePositions, describe_path, written_path
from touchline_runtime.yaml.text import read_document


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("on", "on"),
        ("21:00", "21:00"),
        ("2026-03-01", "2026-03-01"),
        ("1_000", "1_000"),
        ("014", 14),
        ("0o14", 12),
        ("0x1F", 31),
        ("-1.5e3", -1500.0),
        (".5", 0.5),
        ("True", True),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("!!int 1", 1),
        ("1e3", 1000.0),
        ("|\n  1", "1"),
    ],
)
def test_plain_scalars_mean_what_the_core_schema_says(written: str, value: object) -> None:
    for text in (f"a: {written}", f"%YAML 1.1\n---\na: {written}"):
        read = read_document(text).value["a"]
        assert (type(read), read) == (type(value), value)


def test_an_empty_text_says_nothing_on_its_first_line() -> None:
    value, places = read_document("# nothing\n", "f")
    assert value is None
    assert str(places.fault((), "is empty")) == "f:1: is empty"


def test_every_part_has_the_line_it_was_written_in_and_what_is_not_there_that_of_the_part_around_it() -> None:
    text = "a:\n  - b: 1\n    c:\n      d: 2\n  - &x\n    e: 3\nf: *x\n"
    value, places = read_document(text)
    assert value == {"a": [{"b": 1, "c": {"d": 2}}, {"e": 3}], "f": {"e": 3}}
    lines: dict[tuple[str | int, ...], int] = {
        (): 1, ("a",): 1, ("a", 0): 2, ("a", 0, "b"): 2, ("a", 0, "c"): 3, ("a", 0, "c", "d"): 4, ("a", 1, "e"): 6,
        ("f",): 7, ("a", 0, "c", "x", 3): 3, ("z",): 1,
    }  # fmt: skip
    assert {path: places.line(path) for path in lines} == lines


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "f:1: not YAML: "),
        ("a: 1\nb: \x00", "f:2: not YAML: "),
        ("a: 1\n---\nb: 2", "f:2: not YAML: but found another document; write one document a file"),
        ("a:\n\t- b", r"f:2: not YAML: found character '\t' that cannot start any token; indent with spaces"),
        ("[" * 500, "f:1: is nested too deeply; write fewer brackets"),
        ("a: 1\nb: 2\na: 3", "f:3: a: is written twice; keep one of the two"),
        ("a: 1\n3: 2", "f:2: 3: a key must be a text; put it in quotes"),
        ("a:\n  ? [1]\n  : 2", "f:1: a: has a key that is no text; write names as keys"),
        ("a: &x\n  - *x", "f:1: a[0]: refers to itself; write it out"),
        ("a: 1\nb: -.inf", "f:2: b: is too large a number, or none at all; write a finite one, or put it in quotes"),
        ("a: 1\nb: .nan", "f:2: b: is too large a number"),
        ("b: 1e999", "f:1: b: is too large a number"),
        ("b: " + "9" * 5000, "f:1: b: is too large a number"),
        ("a: 1\n<<: {b: 2}", "f:2: <<: merge keys are not part of YAML 1.2; write the keys out"),
        ("a: !env B", "f:1: a: has the tag !env, and tags mean nothing here; write a plain value"),
        ("a: !!binary aGk=", "f:1: a: has the tag tag:yaml.org,2002:binary"),
        ("a: !set {b}", "f:1: a: has the tag !set"),
    ],
)
def test_what_is_not_plain_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(FaultyDocumentError) as caught:
        read_document(text, "f")
    assert str(caught.value).startswith(message)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(FaultyDocumentError) as caught:
        read_document("a: .inf\nb: !c d\na: 1")
    assert str(caught.value).splitlines() == [
        "line 1: a: is too large a number, or none at all; write a finite one, or put it in quotes",
        "line 2: b: has the tag !c, and tags mean nothing here; write a plain value",
        "line 3: a: is written twice; keep one of the two",
    ]


def test_where_keys_are_names_of_others_they_are_as_written_and_still_written_once() -> None:
    assert read_document("{007: a, true: b, ~: c, '<<': d}", any_keys=True).value == {
        "007": "a", "true": "b", "~": "c", "<<": "d",
    }  # fmt: skip
    with pytest.raises(FaultyDocumentError, match="is written twice"):
        read_document("{1: a, '1': b}", any_keys=True)


# JSON writes what lies beyond as two halves, which YAML takes for two characters.
_TEXTS = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=9)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False, allow_infinity=False)
        | _TEXTS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
        max_leaves=12,
    )
)  # fmt: skip
def test_json_is_read_as_what_it_is(value: Any) -> None:
    assert read_document(json.dumps(value)).value == value


def test_a_fault_names_as_much_of_its_place_as_is_known() -> None:
    assert str(Fault("f", 3, "a.b", "is bad", "fix it")) == "f:3: a.b: is bad; fix it"
    assert str(Fault("f", None, "a.b", "fix it")) == "f: a.b: fix it"
    assert str(Fault("", 3, "", "fix it")) == "line 3: fix it"
    assert str(SourcePositions("f").fault(["a"], "fix it")) == "f: a: fix it"


def test_paths_are_shown_as_one_would_write_them() -> None:
    assert describe_path(("stages", 0, "where", "properties.x", "lt")) == 'stages[0].where["properties.x"].lt'


@pytest.mark.parametrize(
    ("location", "path"),
    [
        (("caps", 0, "count"), ("caps", "count")),
        (("names", 1), ("names", 1)),
        (("delay", "function-before[parse()]"), ("delay",)),
        (("missing",), ("missing",)),
        (("caps", "missing"), ("caps", "missing")),
    ],
)
def test_of_a_validator_s_location_what_is_written_remains(
    location: tuple[str | int, ...], path: tuple[str | int, ...]
) -> None:
    document = {"caps": {"count": 0}, "names": ["a", "b"], "delay": "3x"}
    assert written_path(document, location) == path


@pytest.mark.parametrize("indicator", ["|", "|-", "|+", "|2", "| # a comment"])
@given(before=st.integers(0, 3), within=st.integers(1, 5))
def test_a_line_within_a_block_is_a_line_of_the_file(indicator: str, before: int, within: int) -> None:
    block = "\n".join(f"  line {number}" for number in range(1, 6))
    positions = read_document("\n" * before + f"a: 1\ntext: {indicator}\n{block}\nb: 2\n", "f").positions
    assert positions.fault(("text",), "wrong", within=within) == Fault("f", before + 2 + within, "text", "wrong")
    assert positions.fault(("a",), "wrong", within=1) == Fault("f", before + 1, "a", "wrong")


def test_a_line_within_another_text_is_said() -> None:
    positions = read_document('a: "one\\n\\n\\ntwo"\n', "f").positions
    assert str(positions.fault(("a",), "wrong", within=4)) == "f:1: a: wrong (line 4 of the text)"
