"""`make demo ONCE=1` at a small scale: it ends by itself, its numbers add up, and it leaves nothing running."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import psutil
import pytest
from touchline_devstack.processes import command


@pytest.mark.stack
@pytest.mark.timeout(290)
def test_the_demo_ends_by_itself_with_numbers_that_add_up_and_leaves_nothing_running(tmp_path: Path) -> None:
    folder = tmp_path / "devstack"
    ended = subprocess.run(
        [command("touchline-demo"), "--once", "--customers", "200"],
        env=os.environ | {"TOUCHLINE_DEVSTACK_DIR": str(folder), "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=270,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told = json.loads((folder / "demo-summary.json").read_text())
    assert told["touchpoints_accepted"] > 3000
    assert told["touchpoints_accepted"] == (
        told["touchpoints_folded"] + told["duplicates"] + told["dead_letters"] + told["erased"]
    )
    assert told["lag"] == 0
    assert told["duplicates"] > 0
    assert told["dead_letters"] > 0
    assert told["erased"] > 0
    assert told["merged"] > 0
    assert told["moves"].keys() >= {"enter", "advance", "regress", "renew", "lapse"}
    assert told["stalls"] > told["recoveries"] > 0
    assert told["actions"].keys() >= {"sent", "held"}
    assert "Where the customers are" in ended.stdout
    assert "plays, actions, deliveries  http://127.0.0.1:" in ended.stdout
    assert told["people"]["made up"] == 200
    assert f"{told['people']['came by live']} newcomers in the live part, 1 asked to be forgotten" in ended.stdout
    assert f"{told['touchpoints_rejected']} refused; " in ended.stdout
    left = [process for process in psutil.process_iter(["environ"]) if str(folder) in str(process.info["environ"])]
    assert left == []
