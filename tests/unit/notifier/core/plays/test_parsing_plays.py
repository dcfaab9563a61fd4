"""Plays from YAML: what is wrong, where, and what to write instead."""

import json
from datetime import timedelta
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from touchline_notifier.core.delivery.endpoints import Endpoint
from touchline_notifier.core.plays.parse import (
    KnownLifecycle,
    ParsedPlays,
    check_lifecycles,
    check_play_endpoints,
    equal_priorities,
    read_plays,
    with_endpoint,
)
from touchline_notifier.core.plays.play import Play
from touchline_notifier.core.plays.samples import sample_actions

GOOD = """\
play: win-back                                  # one file a play in TOUCHLINE_PLAYS_DIR
when: {fact: customer-stalled, lifecycle: service-cycle, stage: [retention], level: 1}
action: {channel: webhook, endpoint: crm, subject: "…", body: "We miss you, {{ customer_id }}"}
limits: {per_customer: {count: 1, within: 7d}, quiet_hours: {from: "21:00", to: "08:00"}, max_age: 24h}
"""


def parse(text: str) -> ParsedPlays:
    return read_plays([("plays/p.yaml", text)])


def faults(text: str) -> list[str]:
    return [str(fault) for fault in parse(text).faults]


def test_the_documented_play_is_sound() -> None:
    assert faults(GOOD) == []
    assert set(parse(GOOD).plays) == {"win-back"}


def test_hours_need_no_quotes_for_yaml_is_1_2() -> None:
    assert faults(GOOD.replace('"21:00"', "21:00").replace('"08:00"', "08:00")) == []


@pytest.mark.parametrize(
    ("change", "into", "message"),
    [
        ("level: 1", "level: 0", "plays/p.yaml:2: when.level: Input should be greater than or equal to 1"),
        ("within: 7d", "within: 7", "plays/p.yaml:4: limits.per_customer.within: '7' has no unit; write it with one"),
        ("within: 7d", "within: 1M", "limits.per_customer.within: '1M' is no duration; write 30m, 12h"),
        ("within: 7d", "within: P1M", "'P1M': years and months have no fixed length; write days or weeks"),
        ("within: 7d", "within: 900000d", "'900000d' is longer than a century; write less than 40000d"),
        ("within: 7d", "within: PT0S", "'PT0S' is no time at all: leave it out, or write a longer one"),
        ("quiet_hours", "quiet_hour", "plays/p.yaml:4: limits.quiet_hour: unknown: did you mean quiet_hours?"),
        ("customer-stalled", "stalled", "plays/p.yaml:2: when.fact: Input should be 'stage-changed'"),
        ("level: 1}", "move: regress}", "plays/p.yaml:2: when: move and from_stage belong to fact: stage-changed"),
        ('to: "08:00"', 'to: "21:00"', "limits.quiet_hours: from and to are the same"),
        ("max_age: 24h", "max_age: 24h}\ndelay: 24h\n#", "max_age (1d) is not longer than delay (1d)"),
        ("{{ customer_id }}", "{{ customer_id }", "plays/p.yaml:3: action.body: unexpected '}'"),
        ("{{ customer_id }}", "{{ customer }}", "plays/p.yaml:3: action.body: 'customer' is undefined"),
        ("{{ customer_id }}", "{{ ''.__class__ }}", "plays/p.yaml:3: action.body: "),
        ("{{ customer_id }}", "{% for n in range(10**9) %}x{% endfor %}", "plays/p.yaml:3: action.body: "),
        ("{{ customer_id }}", "{{ '\\u0000' }}", "plays/p.yaml:3: action.body: contains a NUL"),
        ("{{ customer_id }}", "{{ '\\ud800' }}", "plays/p.yaml:3: action.body: contains half of a surrogate pair"),
        ("channel: webhook, ", "channel: email, endpoint: e} #", "action: a mail needs a subject and a body"),
        ("play: win-back", "play: win-back\nplay: again", "plays/p.yaml:2: play: is written twice; keep one"),
        ("when: {", "when: [", "plays/p.yaml:"),
        (
            "level: 1",
            "level: .inf",
            "plays/p.yaml:2: when.level: is too large a number, or none at all; write a finite",
        ),
        ("level: 1", "level: !env LEVEL", "plays/p.yaml:2: when.level: has the tag !env, and tags mean nothing here"),
        (
            "max_age: 24h}",
            "max_age: 24h}\n<<: {}",
            "plays/p.yaml:5: <<: merge keys are not part of YAML 1.2; write the",
        ),
        ("max_age: 24h}", "max_age: 24h}\n3: x", "plays/p.yaml:5: 3: a key must be a text; put it in quotes"),
        ("max_age: 24h}", "max_age: 24h}\ngoal: &g {within: *g}", "plays/p.yaml:5: goal.within: refers to itself"),
        ("max_age: 24h}", "max_age: 24h}\ndelay: " + "[" * 500, "plays/p.yaml:1: is nested too deeply; write fewer"),
        (
            'body: "We',
            'data: {a.b: [1, "{{ x }}"]}, body: "We',
            "plays/p.yaml:3: action.data[\"a.b\"][1]: 'x' is undefined",
        ),
        ("max_age: 24h}", "time_zone: Mars/Olympus}", "limits.time_zone: 'Mars/Olympus' is no time zone"),
        ("max_age: 24h}", "max_age: 24h}\nif: {profile: {email: {like: x}}}", "unknown operator 'like': known are eq"),
        ("max_age: 24h}", "max_age: 24h}\nhold_out: 120%", "plays/p.yaml:5: hold_out: "),
    ],
)
def test_faults_name_file_line_path_and_remedy(change: str, into: str, message: str) -> None:
    assert change in GOOD
    found = faults(GOOD.replace(change, into))
    assert any(message in fault for fault in found), found


def test_a_trait_that_may_be_unknown_is_worth_a_warning() -> None:
    read = parse(GOOD.replace("customer_id }}", "traits.name }}"))
    assert read.faults == []
    assert "write | default(…)" in str(read.warnings[0])
    assert parse(GOOD.replace("customer_id }}", "traits.name | default('you') }}")).warnings == []


def test_a_type_that_looks_misspelt_is_worth_a_warning() -> None:
    """Kind: a condition or a goal that nothing meets, because its type is misspelt, passes in silence."""
    more = "if: {history: [{type: [purchase, onboarded]}]}\ngoal: {when: [purchased, renewd], within: 30d}\n"
    read = parse(GOOD + more)
    assert read.faults == []
    assert [str(warning).partition("; ")[0] for warning in read.warnings] == [
        "plays/p.yaml:5: if.history[0].type: 'purchase' is no standard type, and looks like purchased",
        "plays/p.yaml:6: goal.when: 'renewd' is no standard type, and looks like renewed",
    ]


def test_two_plays_of_one_name_are_refused() -> None:
    read = read_plays([("a.yaml", GOOD), ("b.yaml", GOOD)])
    assert [str(fault) for fault in read.faults] == ["b.yaml:1: play: a.yaml has a play 'win-back' already: rename one"]


@pytest.mark.parametrize("text", ["", "- 1", "just text", "42"])
def test_what_is_no_play_is_said_to_be_none(text: str) -> None:
    assert "write a play" in faults(text)[0]


def test_lifecycles_and_stages_have_to_exist() -> None:
    known = [KnownLifecycle("journey", ("discover", "learn")), KnownLifecycle("service-cycle", ("reach",))]
    assert [str(fault) for fault in check_lifecycles(parse(GOOD), known)] == [
        "plays/p.yaml:2: when.stage: there is no stage 'retention' in service-cycle: known are reach"
    ]
    assert [str(fault) for fault in check_lifecycles(parse(GOOD.replace("service-cycle", "journy")), known)] == [
        "plays/p.yaml:2: when.lifecycle: there is no lifecycle 'journy': known are journey, service-cycle"
    ]
    anywhere = GOOD.replace("lifecycle: service-cycle, stage: [retention]", "stage: [learn]")
    assert check_lifecycles(parse(anywhere), known) == []


def test_endpoints_have_to_exist_and_be_of_the_channels_type() -> None:
    crm, mail = Endpoint(name="crm"), Endpoint(name="mail", type="email")
    read, channels = parse(GOOD), ("email", "slack", "webhook")

    def message(text: str, *endpoints: Endpoint) -> list[str]:
        by_name = {endpoint.name: endpoint for endpoint in endpoints}
        return [str(fault) for fault in check_play_endpoints(parse(text), by_name, channels, "endpoints.yaml")]

    assert message(GOOD, crm) == []
    assert message(GOOD, mail) == [
        "plays/p.yaml:3: action.endpoint: there is no endpoint 'crm' in endpoints.yaml; of type webhook there is: none"
    ]
    assert message(GOOD.replace("crm", "mail"), mail) == [
        "plays/p.yaml:3: action.endpoint: endpoint 'mail' is of type email, not webhook"
    ]
    assert "there is no channel 'fax'" in message(GOOD.replace("webhook", "fax"), crm)[0]
    unnamed = GOOD.replace("endpoint: crm, ", "")
    assert message(unnamed, crm, mail) == []
    assert with_endpoint(parse(unnamed).plays["win-back"], {"crm": crm, "mail": mail}).action.endpoint == "crm"
    assert "write endpoint" in message(unnamed, crm, Endpoint(name="other"))[0]
    assert with_endpoint(read.plays["win-back"], {}).action.endpoint == "crm"


@pytest.mark.parametrize("fact", ["stage-changed", "customer-stalled", "customer-recovered"])
def test_templates_are_tried_with_all_that_a_published_fact_has(fact: str) -> None:
    schema = json.loads((files("touchline_schemas.published") / f"touchline.{fact}.v1.json").read_text())
    play = Play.model_validate({"play": "p", "when": {"fact": fact}, "action": {"channel": "webhook"}})
    for action in sample_actions(play):
        jsonschema.validate(action.fact.data, schema)
        assert set(action.fact.data) == set(schema["properties"])
    body = " ".join(f"{{{{ fact.{name} }}}}" for name in schema["properties"])
    assert faults(f"play: p\nwhen: {{fact: {fact}}}\naction: {{channel: webhook, body: '{body}'}}\n") == []


def test_templates_are_tried_with_every_kind_of_fact_the_play_looks_at() -> None:
    text = """\
play: p
when: {fact: stage-changed, move: [regress, lapse]}
action: {channel: webhook, body: "{{ fact.reason.touchpoint_id.upper() }}"}
"""
    assert faults(text) == [
        "plays/p.yaml:3: action.body: 'None' has no attribute 'upper' (tried with a fact of kind lapse)"
    ]
    assert faults(text.replace(", lapse", "")) == []
    assert (
        "kind enter"
        in faults(text.replace("move: [regress, lapse]", "").replace("fact.reason.touchpoint_id", "from_stage"))[0]
    )


def test_all_that_is_wrong_with_a_play_is_told_at_once() -> None:
    read = parse("""\
play: p
when: {fact: customer-stalled, lifecycle: courtship, stage: comitment}
action: {channel: webhook, body: "{{ fact.sinse }}"}
priority: high
""")
    known = [KnownLifecycle("courtship", ("courting", "commitment"))]
    found = [
        *read.faults,
        *check_lifecycles(read, known),
        *check_play_endpoints(read, {}, ["webhook"], "endpoints.yaml"),
    ]
    assert [fault.path for fault in found] == ["priority", "action.body", "when.stage", "action"]
    assert read.plays == {}


def test_lengths_of_time_are_written_as_in_lifecycles_and_shown_in_days() -> None:
    play = parse(GOOD.replace("within: 7d", "within: P1.5D").replace("max_age: 24h", "max_age: 2w")).plays["win-back"]
    assert play.limits.per_customer[0].within == timedelta(hours=36)
    written = play.limits.model_dump(mode="json")
    assert (written["per_customer"][0]["within"], written["max_age"]) == ("36h", "14d")


CAPPED = """
play: {name}
when: {{fact: customer-stalled, stage: [{stage}]}}
action: {{channel: {channel}, subject: Hello, body: Hello}}
priority: {priority}
limits: {{per_customer: {{count: 1, within: 7d}}}}
"""


@pytest.mark.parametrize(
    ("other", "warned"),
    [
        ({}, True),
        ({"priority": 1}, False),
        ({"stage": "advocacy"}, False),
        ({"stage": "retention, advocacy"}, True),
        ({"channel": "webhook"}, False),
    ],
)
def test_plays_that_compete_for_the_same_caps_are_told_apart_by_priority_or_warned_about(
    other: dict[str, Any], warned: bool
) -> None:
    first = {"name": "one", "stage": "retention", "channel": "email", "priority": 0}
    texts = [("one.yaml", CAPPED.format(**first)), ("two.yaml", CAPPED.format(**{**first, "name": "two", **other}))]
    warnings = [str(one) for one in equal_priorities(read_plays(texts), frozenset({"email"}))]
    assert len(warnings) == (2 if warned else 0)
    if warned:
        assert "one.yaml:5: priority: competes with two for the same caps" in warnings[0]
