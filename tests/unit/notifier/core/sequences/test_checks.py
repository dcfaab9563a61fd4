"""What `check` says of sequences: where it is, and what to write instead."""

import pytest
from touchline_notifier.core.plays.parse import KnownLifecycle, check_lifecycles, check_play_endpoints, read_plays
from touchline_notifier.core.sequences.definition import definition_of, read_definition

HEAD = "play: welcome\nwhen: {fact: stage-changed, lifecycle: service-cycle}\n"
SEND = '{send: {channel: webhook, endpoint: crm, body: "Hi"}}'


def faults(steps: str, more: str = "") -> list[str]:
    return [
        f"{one.line} {one.path}: {one.message}" for one in read_plays([("f", f"{HEAD}{more}steps:\n{steps}")]).faults
    ]


def warnings(steps: str, more: str = "") -> list[str]:
    found = read_plays([("f", f"{HEAD}{more}steps:\n{steps}")])
    assert found.faults == []
    return [f"{one.path}: {one.message}" for one in found.warnings]


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("  - wait: 3d\n", "never sends"),
        (f"  - {SEND}\n  - branch: {{on: happened, then: [{SEND}]}}\n", "no wait_until comes before this step"),
        (f"  - {SEND}\n  - branch: {{on: happened}}\n", "write steps under then"),
        (f"  - {SEND}\n  - branch: {{on: {{}}, then: [{SEND}]}}\n", "on: write profile"),
        (f"  - {SEND}\n  - {{wait: 3d, send: {{channel: webhook}}}}\n", "this one has send and wait"),
        (f"  - {SEND}\n  - {{title: Nothing}}\n", "this one has none"),
        (f"  - {SEND}\n  - wait: 0d\n", "no time at all"),
        (f"  - {SEND}\n  - wait: 400d\n", "the longest wait"),
        (f"  - {SEND}\n  - wait_until: {{within: 3d}}\n", "write either touchpoint"),
        (f"  - {SEND}\n  - wait_until: {{touchpoint: purchased}}\n", "is missing"),
        (f"  - {SEND}\n  - wait_until: {{touchpoint: a, where: {{score: 3}}, within: 3d}}\n", "write properties.score"),
        (f"  - {SEND}\n  - wait_until: {{touchpoint: a, move: advance, within: 3d}}\n", "write either touchpoint"),
        (f"  - {SEND}\n  - wiat: 3d\n", "did you mean wait?"),
        ('  - send: {channel: webhook, endpoint: crm, bdy: "Hi"}\n', "did you mean body?"),
        ('  - send: {channel: webhook, endpoint: crm, body: "{{ traits.values() }}"}\n', "steps[0].send.body"),
        ("  - send: {channel: email}\n", "a mail needs a subject and a body"),
    ],
)
def test_a_wrong_sequence_is_refused_with_what_to_write(steps: str, said: str) -> None:
    found = faults(steps)
    assert any(said in one for one in found), found
    assert all("action" not in one for one in found), found


def test_a_play_has_either_an_action_or_steps() -> None:
    assert "write either action, or steps" in faults(f"  - {SEND}\n", 'action: {channel: webhook, body: "x"}\n')[0]
    assert "delay: a sequence waits by a step" in faults(f"  - {SEND}\n", "delay: 3d\n")[0]
    missing = read_plays([("f", HEAD)]).faults
    assert [(one.path, one.message) for one in missing] == [("action", "is missing")]


def test_more_steps_than_fifty_are_refused_those_in_branches_among_them() -> None:
    many = ", ".join([SEND] * 30)
    wait = f"  - {SEND}\n  - wait_until: {{touchpoint: a, within: 1d}}\n"
    text = f"{wait}  - branch: {{on: happened, then: [{many}], else: [{many}]}}\n"
    assert "63 steps" in faults(text)[0]


@pytest.mark.parametrize(
    ("steps", "more", "said"),
    [
        (f"  - {SEND}\n  - wait: 3d\n", "", "nothing is sent after this wait"),
        (f"  - {SEND}\n  - wait: 1d\n  - {SEND}\n", "limits: {cool_down: 7d}\n", "one message of this play in 7d"),
        (
            f"  - wait_until: {{touchpoint: purchased, within: 1d}}\n  - {SEND}\n",
            "goal: {when: [purchased]}\n",
            "this is the goal",
        ),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(steps: str, more: str, said: str) -> None:
    found = warnings(steps, more)
    assert any(said in one for one in found), found


def test_a_series_of_many_branches_is_checked_in_no_time() -> None:
    branch = f"  - branch: {{on: timed_out, then: [{SEND}]}}\n"
    start = "  - wait_until: {touchpoint: a, within: 1d}\n"
    assert warnings(start + branch * 24, "limits: {cool_down: 7d}\n") == []


def test_a_wait_for_any_touchpoint_in_a_stall_that_it_ends_is_a_warning() -> None:
    wait = "  - wait_until: {touchpoint: purchased, within: 1d}\n"
    text = f"play: p\nwhen: {{fact: customer-stalled}}\nsteps:\n{wait}  - {SEND}\n"
    assert "ends the stall" in str(read_plays([("f", text)]).warnings[0])
    assert read_plays([("f", text + "exit: false\n")]).warnings == []


def test_unknown_endpoints_lifecycles_and_stages_are_named_with_their_step() -> None:
    steps = (
        f"  - {SEND}\n  - wait_until: {{move: advance, stage: [nowhere], within: 1d}}\n"
        "  - branch: {on: happened, then: [{send: {channel: webhook, endpoint: nobody}}]}\n"
        f"  - wait_until: {{move: advance, lifecycle: none, within: 1d}}\n  - {SEND}\n"
    )
    parsed = read_plays([("f", f"{HEAD}steps:\n{steps}")])
    assert parsed.faults == []
    lifecycles = [KnownLifecycle("service-cycle", ("reach", "retention"))]
    assert [one.path for one in check_lifecycles(parsed, lifecycles)] == [
        "steps[1].wait_until.stage",
        "steps[3].wait_until.lifecycle",
    ]
    paths = [one.path for one in check_play_endpoints(parsed, {}, ["webhook"], "endpoints.yaml")]
    assert paths == ["steps[0].send.endpoint", "steps[2].branch.then[0].send.endpoint", "steps[4].send.endpoint"]


def test_a_definition_is_read_back_as_it_was() -> None:
    steps = (
        f"  - {SEND}\n  - wait: {{business_days: 2}}\n  - wait_until: {{touchpoint: a, within: 1d}}\n"
        f"  - branch: {{on: {{profile: {{traits.plan: {{in: [pro, team]}}}}}}, then: [{SEND}], else: [{SEND}]}}\n"
    )
    more = "hold_out: 10%\nlimits: {quiet_hours: {from: '20:00', to: '08:00'}, business_days: true, max_age: 2d}\n"
    (play,) = read_plays([("f", f"{HEAD}{more}steps:\n{steps}")]).plays.values()
    definition = definition_of(play)
    again = read_definition(definition.text)
    assert (again.play, again.digest, again.nodes) == (play, definition.digest, definition.nodes)
