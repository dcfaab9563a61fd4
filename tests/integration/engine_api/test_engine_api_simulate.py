"""A candidate tried on what an engine has stored: the engine's own answer is what it is compared with."""

import json
import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from touchline_devstack.processes import command
from touchline_stage_engine import builtin

from tests.support.engine.api import ApiWorld

pytestmark = pytest.mark.stack


def simulate(api: ApiWorld, file: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """`simulate --from-database --json` to its end."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TOUCHLINE_")}
    return subprocess.run(
        [command("touchline-stage-engine"), "simulate", str(file), "--from-database", "--json"],
        env=inherited | api.environment | more,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def stands(api: ApiWorld) -> Counter[str]:
    """Customers by the stage the engine has them in."""
    funnel = api.get("/v1/lifecycles/service-cycle/funnel")
    return Counter({one["stage"]: one["customers"] for one in [*funnel["stages"], *funnel["off_path"]]})


def test_what_runs_already_moves_nobody_and_the_report_agrees_with_the_engine(api: ApiWorld, tmp_path: Path) -> None:
    candidate = tmp_path / "same.yaml"
    candidate.write_text(builtin.text_of("service-cycle"))
    result = simulate(api, candidate)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["would_move"], report["changes"], report["flow_differences"]) == (0, [], [])
    # On a busy machine the funnel may be some seconds old.
    api.wait("the report agrees", lambda: Counter(report["candidate"]["now_in"]) == +stands(api))
    assert report["touchpoints"] == len(api.posted)


def test_a_stricter_candidate_moves_somebody_and_writes_nothing(api: ApiWorld, tmp_path: Path) -> None:
    candidate = tmp_path / "stricter.yaml"
    candidate.write_text(
        builtin.text_of("service-cycle").replace("version: 1", "version: 2").replace("count: 3", "count: 9")
    )
    before = api.get("/v1/lifecycles/service-cycle"), stands(api)
    report = json.loads(simulate(api, candidate).stdout)
    assert report["would_move"] > 0
    assert report["running"]["version"] == 1
    assert (api.get("/v1/lifecycles/service-cycle"), stands(api)) == before


def test_another_prefix_holds_no_history_and_that_is_said(api: ApiWorld, tmp_path: Path) -> None:
    candidate = tmp_path / "same.yaml"
    candidate.write_text(builtin.text_of("service-cycle"))
    result = simulate(api, candidate, TOUCHLINE_TOPIC_PREFIX="elsewhere")
    assert result.returncode == 2
    assert "no stage engine tables" in " ".join(result.stderr.split())
