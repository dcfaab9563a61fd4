"""The checker finds every kind of fault in what a run left behind, and finds nothing where there is none."""

import asyncio
import copy
import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from touchline_checker.check import check
from touchline_checker.cli import app
from touchline_checker.evidence import Evidence
from touchline_checker.findings import Kind
from typer.testing import CliRunner

from tests.support.checker.memory_evidence import add_actions, clean_evidence, evidence_of
from tests.support.checker.planted_faults import FAULTS
from tests.support.engine.expected import now_micros
from tests.support.engine.memory_engine import MemoryEngine
from tests.support.engine.random_batches import fold_everything, posted
from tests.support.engine.world import TYPES, touchpoint

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
EXAMPLES = int(os.environ.get("TOUCHLINE_TEST_EXAMPLES", "8"))
few = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # Seeds do not shrink to anything simpler.
    phases=[phase for phase in Phase if phase is not Phase.shrink],
)


def lives(seed: int, customers: int = 3) -> list[dict[str, Any]]:
    """Some customers' touchpoints, each customer's in order; long pauses make stalls and lapses."""
    rng = random.Random(seed)
    made = []
    for number in range(customers):
        at = BEGIN + timedelta(hours=rng.randrange(24))
        for index in range(rng.randrange(3, 12)):
            at += timedelta(hours=rng.choice([1, 30, 24 * 12, 24 * 45]))
            made.append(
                touchpoint(
                    f"t{number}-{index}", at, type=rng.choice(TYPES), properties={"score": rng.randrange(11)},
                    customer_id=f"c{number}",
                )
            )  # fmt: skip
    return made


@few
@given(st.integers(0, 2**32))
def test_a_run_without_faults_has_no_findings(seed: int) -> None:
    report = check(clean_evidence(lives(seed), now_micros()))
    assert report.findings == []
    assert report.compared["streams of facts, fact by fact"] == 3
    assert report.compared["stages"] == 3


@few
@given(posted(), st.integers(0, 2**32), st.sampled_from([1, 50]), st.integers(1, 3))
def test_late_touchpoints_and_merges_are_no_faults(
    made: list[dict[str, Any]], seed: int, limit: int, partitions: int
) -> None:
    rng, engine = random.Random(seed), MemoryEngine(limit=limit, partitions=partitions)
    arrivals = [*made, *rng.choices(made, k=2)]
    rng.shuffle(arrivals)
    now = now_micros()

    async def run() -> None:
        await fold_everything(engine, arrivals, rng)
        for partition in range(partitions):
            while await engine.fire(partition, now):
                pass

    asyncio.run(run())
    evidence = evidence_of(engine, now, now)
    add_actions(evidence)
    assert check(evidence).findings == []


@pytest.mark.parametrize("name", FAULTS)
@few
@given(st.integers(0, 2**32))
def test_every_planted_fault_is_found(name: str, seed: int) -> None:
    evidence = clean_evidence(lives(seed), now_micros())
    expected = FAULTS[name](evidence, random.Random(seed))
    assume(expected is not None)
    assert expected is not None
    found = check(evidence).by_kind
    assert expected & found.keys(), f"planted {name}, found {dict(found)}"


def test_a_fault_of_every_kind_is_planted() -> None:
    planted: set[Kind] = set()
    for seed in range(20):
        clean = clean_evidence(lives(seed), now_micros())
        for plant in FAULTS.values():
            evidence = copy.deepcopy(clean)
            if plant(evidence, random.Random(seed)) is not None:
                planted |= check(evidence).by_kind.keys()
        if planted == set(Kind):
            return
    assert set(Kind) - planted == set()


def test_the_command_says_by_its_exit_code_whether_something_was_found(tmp_path: Path) -> None:
    evidence, runner = clean_evidence(lives(5), now_micros()), CliRunner()
    evidence.write(tmp_path / "clean")
    answer = runner.invoke(app, ["check", str(tmp_path / "clean")])
    assert (answer.exit_code, answer.stdout.splitlines()[-1]) == (0, "no findings"), answer.output
    assert check(Evidence.read(tmp_path / "clean")).as_json() == check(evidence).as_json()

    evidence.tables["touchpoints"].pop()
    evidence.write(tmp_path / "faulty")
    report = tmp_path / "report.json"
    answer = runner.invoke(app, ["check", str(tmp_path / "faulty"), "--json", str(report)])
    assert answer.exit_code == 1
    assert "touchpoint_not_folded: 1" in answer.stdout
    published = orjson.loads(report.read_bytes())
    assert published["findings_by_kind"] == {"touchpoint_not_folded": 1}
    assert published["ok"] is False


@pytest.mark.parametrize(
    ("file", "text"),
    [("meta.json", "{}"), ("touchpoints.ndjson", "{"), ("stages.ndjson", ""), ("received.ndjson", '{"kind": "mail"}')],
)
def test_evidence_that_cannot_be_read_is_an_error_and_not_a_clean_run(tmp_path: Path, file: str, text: str) -> None:
    clean_evidence(lives(5), now_micros()).write(tmp_path)
    if text:
        (tmp_path / file).write_text(text)
    else:
        (tmp_path / "meta.json").unlink()
    answer = CliRunner().invoke(app, ["check", str(tmp_path)])
    assert answer.exit_code == 2
    assert answer.output.strip()
