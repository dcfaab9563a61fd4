"""What a candidate would make of recorded history, beside what runs."""

import json
from typing import Any

from touchline_schemas.definitions.durations import DAY
from touchline_stage_engine.core.analysis.simulation import Flow, Simulation, StageChange, StallLevel, Trigger
from touchline_stage_engine.core.definitions.compile import compile_definition
from touchline_stage_engine.core.definitions.model import Definition
from touchline_stage_engine.core.definitions.timeline import Timeline
from touchline_stage_engine.core.folding.fold import Fold
from touchline_stage_engine.core.touchpoint import Touchpoint


def lifecycle(version: int, visits: int, patience: str) -> Fold:
    value: dict[str, Any] = {
        "lifecycle": "shop",
        "version": version,
        "stages": [
            {"name": "looking", "rules": [{"when": ["page_viewed"], "count": visits, "to": "next"}]},
            {
                "name": "choosing",
                "stall": {"after": patience},
                "lapse": {"after": "60d", "to": "looking"},
                "rules": [{"when": ["purchased"], "to": "next"}, {"when": ["complained"], "to": "angry"}],
            },
            {"name": "buying"},
        ],
        "off_path": [{"name": "angry"}],
    }
    return Fold(Timeline.of(compile_definition(Definition.model_validate(value))))


def life(*types: str) -> list[Touchpoint]:
    return [
        Touchpoint(day * DAY, str(day), "s", kind, "web", "inbound", {}, received_at=day * DAY)
        for day, kind in enumerate(types)
    ]


HISTORIES = {
    "ann": life("page_viewed", "page_viewed", "purchased"),
    "bob": life("page_viewed", "page_viewed"),
    "cyd": life("page_viewed", "page_viewed", "complained"),
    "dan": life("page_viewed"),
    "eve": [],
}


def simulate(running: Fold | None, *triggers: Trigger) -> Simulation:
    simulation = Simulation(lifecycle(2, visits=3, patience="10d"), running, 40 * DAY, triggers)
    for customer, touchpoints in HISTORIES.items():
        simulation.add(customer, touchpoints)
    return simulation


def test_a_candidate_alone_shows_its_funnel_flows_and_stalls() -> None:
    simulation = Simulation(lifecycle(1, visits=2, patience="10d"), None, 40 * DAY)
    for customer, touchpoints in HISTORIES.items():
        simulation.add(customer, touchpoints)
    report = simulation.report()
    assert (report.customers, report.touchpoints, report.would_move, report.running) == (5, 9, 0, None)
    outcome = report.candidate
    assert outcome.now_in == {"buying": 1, "choosing": 1, "angry": 1, "looking": 1}
    assert [(step.stage, step.reached) for step in outcome.funnel] == [("looking", 4), ("choosing", 3), ("buying", 1)]
    assert outcome.flows[Flow("looking", "choosing", "advance")] == 3
    assert outcome.flows[Flow("choosing", "angry", "regress")] == 1
    assert outcome.stalls == {StallLevel("choosing", 1): 1} == outcome.stalled_now


def test_a_candidate_beside_what_runs_shows_who_would_move() -> None:
    report = simulate(lifecycle(1, visits=2, patience="10d")).report()
    assert report.would_move == 3
    assert report.changes == {
        StageChange("buying", "looking"): 1,
        StageChange("choosing", "looking"): 1,
        StageChange("angry", "looking"): 1,
    }
    assert report.examples[StageChange("buying", "looking")] == ["ann"]
    assert report.flow_differences() == {
        Flow("looking", "choosing", "advance"): -3,
        Flow("choosing", "buying", "advance"): -1,
        Flow("choosing", "angry", "regress"): -1,
    }
    assert report.running is not None
    assert (report.running.version, report.candidate.version) == (1, 2)


def test_a_report_is_plain_json() -> None:
    answer = json.loads(json.dumps(simulate(lifecycle(1, visits=2, patience="10d")).report().as_json()))
    assert answer["would_move"] == 3
    assert {"running": "buying", "candidate": "looking", "customers": 1, "examples": ["ann"]} in answer["changes"]
    assert answer["running"]["stalls"] == [{"stage": "choosing", "level": 1, "count": 1}]


def test_the_facts_each_play_looks_at_are_counted() -> None:
    triggers = [
        Trigger.of("nudge", {"fact": "customer-stalled", "lifecycle": "shop", "stage": ["choosing"], "level": 1}),
        Trigger.of("second", {"fact": "customer-stalled", "level": 2}),
        Trigger.of("sorry", {"fact": "stage-changed", "move": ["regress", "lapse"]}),
        Trigger.of("thanks", {"fact": "stage-changed", "stage": "buying", "from_stage": "choosing"}),
        Trigger.of("elsewhere", {"fact": "stage-changed", "lifecycle": "another"}),
        Trigger.of("back", {"fact": "customer-recovered"}),
    ]
    report = simulate(lifecycle(1, visits=2, patience="10d"), *triggers).report()
    assert report.running is not None
    assert report.running.plays == {"nudge": 1, "sorry": 1, "thanks": 1}
    assert report.candidate.plays == {}


def test_plays_act_on_nothing_that_is_backfill() -> None:
    fold = lifecycle(1, visits=2, patience="10d")
    simulation = Simulation(fold, None, 40 * DAY, [Trigger.of("nudge", {"fact": "customer-stalled"})])
    simulation.add(
        "zoe",
        [
            Touchpoint(day * DAY, str(day), "s", "page_viewed", "web", "inbound", {}, received_at=30 * DAY)
            for day in range(2)
        ],
    )
    assert simulation.report().candidate.stalls == {StallLevel("choosing", 1): 1}
    assert simulation.report().candidate.plays == {}
