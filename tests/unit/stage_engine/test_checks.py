"""What `check` refuses although it has the right shape, and what it lets pass although it looks odd."""

import pytest
from touchline_runtime.places import Fault, FaultyDocumentError
from touchline_stage_engine import builtin
from touchline_stage_engine.core.checks import check
from touchline_stage_engine.core.definition import Definition
from touchline_stage_engine.core.reading import read_definition

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
        ("{when: t, where: {properties.x: {}}, to: b}", f'{RULE}.where["properties.x"]', "asks nothing"),
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
        (lifecycle(rest="  - name: next\n"), "stages[2].name", "meaning of its own"),
        (lifecycle(rest="off_path: [{name: x, rules: [{when: t, to: next}]}]"), "off_path[0].rules[0].to", "off the"),
        (lifecycle(rest="rules: [{when: t, to: c}]\n"), "rules[0].to", "no stage 'c'"),
        ("lifecycle: s\nversion: 1\nstages: [{name: a}]\nrules: [{when: t, to: a}]", "rules[0].to", "any stage"),
        (lifecycle(stage="stall: {after: 3d, then: [3d]}"), "stages[0].stall.then[0]", "more than 3d"),
        (lifecycle(stage="stall: {after: 3d, then: [4d, 72h]}"), "stages[0].stall.then[1]", "more than 4d"),
        (lifecycle(stage="lapse: {after: 3d, to: a}"), "stages[0].lapse.to", "nowhere"),
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
