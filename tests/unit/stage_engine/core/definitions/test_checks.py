"""What `check` refuses although it has the right shape, and what it lets pass although it looks odd."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from touchline_runtime.yaml.positions import Fault, FaultyDocumentError
from touchline_schemas.touchpoint import TypeName
from touchline_stage_engine import builtin
from touchline_stage_engine.core.definitions.checks import check
from touchline_stage_engine.core.definitions.field_values import TYPE_SPELLING
from touchline_stage_engine.core.definitions.model import Definition
from touchline_stage_engine.core.definitions.parse import read_definition

RULE = "stages[0].rules[0]"


def lifecycle(rule: str = "", stage: str = "", rest: str = "", cyclic: str = "false") -> str:
    rules = f"    rules: [{rule}]\n" if rule else ""
    more = f"    {stage}\n" if stage else ""
    return f"lifecycle: shop\nversion: 1\ncyclic: {cyclic}\nstages:\n  - name: a\n{rules}{more}  - name: b\n{rest}"


def refused(text: str) -> Fault:
    with pytest.raises(FaultyDocumentError) as caught:
        read_definition(text, "shop.yaml")
    (fault,) = caught.value.faults
    return fault


@pytest.mark.parametrize("name", builtin.NAMES)
def test_what_ships_may_run(name: str) -> None:
    assert check(read_definition(builtin.text_of(name), name)) == []


@pytest.mark.parametrize(
    ("rule", "path", "says"),
    [
        ("{to: b}", RULE, "when"),
        ("{when: t, to: c}", f"{RULE}.to", "there is no stage 'c'"),
        ("{when: t, to: a}", f"{RULE}.to", "never hold"),
        ("{when: t, to: first}", f"{RULE}.to", "never hold"),
        ("{when: t, to: previous}", f"{RULE}.to", "never hold"),
        ("{all: [{when: t}], count: 2, to: b}", f"{RULE}.count", "beside `all`"),
        ("{all: [{when: t}], channel: web, to: b}", f"{RULE}.channel", "beside `all`"),
        ("{all: [{when: t}], where: {properties.x: 1}, to: b}", f"{RULE}.where", "beside `all`"),
        ("{all: [{when: t}], when: t, to: b}", f"{RULE}.when", "beside `all`"),
        ("{all: [{when: t}], within: 3d, to: b}", f"{RULE}.within", "beside `all`"),
        ("{all: [{when: t}], direction: any, to: b}", f"{RULE}.direction", "beside `all`"),
        ("{when: stage_set, to: b}", f"{RULE}.when", "never hold"),
        ("{when: t, where: {score: 3}, to: b}", f"{RULE}.where.score", "write properties.score"),
        ("{when: t, where: {properties: 3}, to: b}", f"{RULE}.where.properties", "properties.name"),
        ("{when: t, where: {properties..x: 3}, to: b}", f'{RULE}.where["properties..x"]', "no 'properties..x'"),
        ("{when: t, where: {source: notifier}, to: b}", f"{RULE}.where.source", "never hold"),
        ("{when: t, where: {properties.x: {}}, to: b}", f'{RULE}.where["properties.x"]', "no operator"),
        ("{when: t, where: {properties.x: {gt: true}}, to: b}", f'{RULE}.where["properties.x"].gt', "a number"),
        ("{when: t, where: {properties.x: {gt: 3, lt: 3}}, to: b}", f'{RULE}.where["properties.x"]', "between"),
        ("{when: t, where: {properties.x: {gte: 4, lte: 3}}, to: b}", f'{RULE}.where["properties.x"]', "between"),
        ("{when: t, where: {properties.x: {gte: 3, lt: 3}}, to: b}", f'{RULE}.where["properties.x"]', "between"),
        ("{when: t, where: {properties.x: {gt: 3, lt: z}}, to: b}", f'{RULE}.where["properties.x"]', "one kind"),
        ("{when: t, where: {properties.x: {eq: 3, gt: 3}}, to: b}", f'{RULE}.where["properties.x"]', "contradict"),
        ("{when: t, where: {properties.x: {in: [1, 2], gt: 2}}, to: b}", f'{RULE}.where["properties.x"]', "contra"),
        ("{when: t, where: {properties.x: {exists: false, eq: 2}}, to: b}", f'{RULE}.where["properties.x"]', "missing"),
        ("{when: t, where: {properties.x: {exists: }}, to: b}", f'{RULE}.where["properties.x"]', "exists: true"),
        ("{all: [{when: t}, {when: u, where: {x: 1}}], to: b}", f"{RULE}.all[1].where.x", "properties.x"),
    ],
)
def test_a_rule_without_sound_meaning_is_refused(rule: str, path: str, says: str) -> None:
    fault = refused(lifecycle(rule))
    assert (fault.path, fault.line) == (path, 6)
    assert says in str(fault)


@pytest.mark.parametrize(
    "rule",
    [
        "{when: t, where: {properties.x: {gte: 3, lte: 3}}, to: b}",
        "{when: t, where: {properties.x: {gt: 3, lt: 4}}, to: b}",
        "{when: t, where: {properties.x: {gt: a, lt: b}}, to: b}",
        "{when: t, where: {properties.x: {in: [1, 2], gt: 1}}, to: b}",
        "{when: t, where: {properties.x: {exists: true, ne: 2}}, to: b}",
        "{when: t, where: {properties.x: }, to: b}",
        "{when: t, within: 3d, to: next}",
        '{all: [{when: "*", direction: any, count: 5, within: P3D}], to: b}',
        "{when: [stage_set, t], to: b}",
    ],
)
def test_a_rule_that_may_hold_is_let_pass(rule: str) -> None:
    read_definition(lifecycle(rule), "shop.yaml")


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        (lifecycle(rest="    rules: [{when: t, to: next}]\n"), "stages[1].rules[0].to", "last stage"),
        (lifecycle(rest="  - name: a\n"), "stages[2].name", "two stages"),
        (lifecycle(rest="off_path: [{name: b}]\n"), "off_path[0].name", "two stages"),
        (lifecycle(rest="  - name: next\n"), "stages[2].name", "reserved word"),
        (lifecycle(rest="off_path: [{name: x, rules: [{when: t, to: next}]}]"), "off_path[0].rules[0].to", "off the"),
        (lifecycle(rest="rules: [{when: t, to: c}]\n"), "rules[0].to", "no stage 'c'"),
        ("lifecycle: s\nversion: 1\nstages: [{name: a}]\nrules: [{when: t, to: a}]", "rules[0].to", "any stage"),
        (lifecycle(stage="stall: {after: 3d, then: [3d]}"), "stages[0].stall.then[0]", "more than 3d"),
        (lifecycle(stage="stall: {after: 3d, then: [4d, 72h]}"), "stages[0].stall.then[1]", "more than 4d"),
        (lifecycle(stage="lapse: {after: 3d, to: a}"), "stages[0].lapse.to", "no target"),
        (lifecycle(stage="lapse: {after: 3d, to: previous}", cyclic="true"), "stages[0].lapse.to", "first stage"),
        (lifecycle(rest="    lapse: {after: 3d, to: next}\n"), "stages[1].lapse.to", "last stage"),
        (lifecycle(stage="lapse: {after: 3d, to: c}"), "stages[0].lapse.to", "no stage 'c'"),
        (
            lifecycle(stage="lapse: {after: 11h, to: b}", rest="    lapse: {after: 12h, to: a}\n"),
            "stages[0].lapse.after",
            "23h",
        ),
        (
            lifecycle(
                stage="lapse: {after: 1h, to: b}",
                rest="    lapse: {after: 1h, to: c}\n  - {name: c, lapse: {after: 1h, to: b}}\n",
            ),
            "stages[1].lapse.after",
            "b → c → b",
        ),
    ],
)
def test_stages_and_times_without_sound_meaning_are_refused(text: str, path: str, says: str) -> None:
    fault = refused(text)
    assert fault.path == path
    assert says in str(fault)


@pytest.mark.parametrize(
    "text",
    [
        lifecycle(stage="lapse: {after: 12h, to: b}", rest="    lapse: {after: 12h, to: a}\n"),
        lifecycle(stage="lapse: {after: 1h, to: b}"),
        lifecycle(rest="    rules: [{when: t, to: next}]\n", cyclic="true"),
        lifecycle(rest="    lapse: {after: 3d, to: next}\n", cyclic="true"),
        lifecycle(rest="off_path: [{name: x, rules: [{when: t, to: first}], lapse: {after: 1d, to: a}}]"),
        lifecycle(rest="rules: [{when: t, to: a}, {when: t, to: previous}]\n"),
    ],
)
def test_what_has_a_meaning_is_let_pass(text: str) -> None:
    read_definition(text, "shop.yaml")


def test_a_definition_without_a_text_is_checked_too() -> None:
    definition = Definition.model_validate(
        {"lifecycle": "s", "version": 1, "stages": [{"name": "a", "lapse": {"after": "3d", "to": "a"}}]}
    )
    (fault,) = check(definition)
    assert (fault.file, fault.line) == ("s", None)


IMPOSSIBLE_TYPES = ["Order Completed", "käufe", "", " purchased", "purchased ", "a,b", "_x", "x" * 101, "注文", "a\nb"]


@pytest.mark.parametrize("name", [one for one in IMPOSSIBLE_TYPES if one])
@pytest.mark.parametrize(
    "rule",
    [
        "{{when: [{name}], to: b}}",
        "{{when: [purchased, {name}], to: b}}",
        "{{all: [{{when: [purchased]}}, {{when: [{name}]}}], to: b}}",
        "{{when: '*', where: {{type: {name}}}, to: b}}",
        "{{when: '*', where: {{type: {{in: [{name}]}}}}, to: b}}",
    ],
)
def test_a_type_that_ingest_never_lets_through_can_never_hold(rule: str, name: str) -> None:
    """Kind: a name in a definition that nothing can ever have, because ingest refuses it or writes it differently."""
    text = "lifecycle: l\nversion: 1\nstages: [{name: a, rules: [RULE]}, {name: b}]\n".replace(
        "RULE", rule.format(name=json.dumps(name))
    )
    with pytest.raises(FaultyDocumentError, match="can never hold"):
        read_definition(text, "l.yaml")


@pytest.mark.parametrize("name", ["purchased", "OrderCompleted", "a.b:c/d-e_f", "1", "x" * 100])
def test_a_type_that_ingest_lets_through_passes(name: str) -> None:
    TypeAdapter(TypeName).validate_python(name)
    text = f"lifecycle: l\nversion: 1\nstages: [{{name: a, rules: [{{when: ['{name}'], to: b}}]}}, {{name: b}}]\n"
    read_definition(text, "l.yaml")


@given(st.text(max_size=110))
def test_a_type_passes_exactly_where_the_contract_takes_it(name: str) -> None:
    try:
        taken = TypeAdapter(TypeName).validate_python(name) == name and "\n" not in name
    except ValidationError:
        taken = False
    assert bool(TYPE_SPELLING.fullmatch(name)) == taken


def test_the_spelling_that_is_proposed_is_the_one_that_segment_events_get() -> None:
    assert "order_completed" in TYPE_SPELLING.instead("Order Completed")
    assert "order_completed" in TYPE_SPELLING.instead("orderCompleted!")
    assert "letters a-z" in TYPE_SPELLING.instead("注文")


@pytest.mark.parametrize("channel", ["E-Mail", "Web", "büro", "web "])
def test_a_channel_that_ingest_never_lets_through_can_never_hold(channel: str) -> None:
    text = (
        "lifecycle: l\nversion: 1\nstages: "
        f"[{{name: a, rules: [{{when: [purchased], channel: ['{channel}'], to: b}}]}}, {{name: b}}]\n"
    )
    with pytest.raises(FaultyDocumentError, match="no touchpoint has the channel"):
        read_definition(text, "l.yaml")


@pytest.mark.parametrize(
    ("condition", "path", "says"),
    [
        ("when: t, channel: web, where: {channel: email}", "channel", "is 'web'"),
        ("when: t, where: {type: other}", "type", "is 't'"),
        ("when: [t, u], where: {type: {in: [v, w]}}", "type", "is 't' or 'u'"),
        ("when: t, where: {type: {ne: t}}", "type", "is 't'"),
        ("when: [t, stage_set], where: {type: stage_set}", "type", "is 't'"),
        ('when: "*", where: {type: stage_set}', "type", "manual moves"),
        ('when: "*", where: {type: {gt: 5}}', "type", "is a text"),
        ('when: "*", where: {type: {in: [Order Completed, käufe]}}', "type", "no touchpoint"),
        ("when: t, where: {direction: outbound}", "direction", "is 'inbound'"),
        ("when: t, direction: outbound, where: {direction: inbound}", "direction", "is 'outbound'"),
        ("when: t, direction: any, where: {direction: sideways}", "direction", "'inbound' or 'outbound'"),
        ("when: t, where: {machine: true}", "machine", "is false"),
        ("when: t, where: {backfill: 1}", "backfill", "false or true"),
        ("when: t, where: {source: {in: [notifier]}}", "source", "notifier trigger no rule"),
        ("when: t, where: {source: 5}", "source", "no touchpoint"),
        ("when: t, where: {source: ''}", "source", "no touchpoint"),
        ("when: t, where: {id: {exists: false}}", "id", "every touchpoint"),
        ("when: t, where: {id: {lt: ''}}", "id", "less than the empty"),
    ],
)
def test_operators_at_a_field_that_no_counting_touchpoint_passes_are_refused(
    condition: str, path: str, says: str
) -> None:
    fault = refused(lifecycle(f"{{{condition}, to: b}}"))
    assert fault.path == f"{RULE}.where.{path}"
    assert "can never hold" in fault.message
    assert says in fault.message


@pytest.mark.parametrize(
    "condition",
    [
        "when: [t, u], where: {type: u}",
        "when: [t, stage_set], where: {type: {ne: u}}",
        'when: "*", where: {type: {in: [stage_set, t]}}',
        "when: t, channel: [web, email], where: {channel: {ne: web}}",
        "when: t, where: {channel: {gte: e}}",
        "when: t, direction: any, where: {direction: outbound}",
        "when: t, where: {machine: false, backfill: true}",
        "when: t, where: {source: {in: [notifier, shop]}, id: {gt: ''}}",
        "when: t, where: {source: {exists: true}}",
    ],
)
def test_operators_at_a_field_that_some_touchpoint_passes_are_taken(condition: str) -> None:
    read_definition(lifecycle(f"{{{condition}, to: b}}"), "shop.yaml")


def test_a_value_that_ingest_never_lets_through_can_never_be_equal() -> None:
    fault = refused(lifecycle('{when: t, where: {properties.x: "a\\0b"}, to: b}'))
    assert "NUL" in fault.message


def test_a_passive_type_that_can_not_come_is_refused() -> None:
    text = "lifecycle: l\nversion: 1\npassive: [Mail Opened]\nstages: [{name: a}, {name: b}]\n"
    with pytest.raises(FaultyDocumentError, match="mail_opened"):
        read_definition(text, "l.yaml")
