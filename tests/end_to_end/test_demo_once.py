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
def test_the_demo_ends_by_itself_with_numbers_that_add_up_and_leaves_nothing_running(tmp_path: Path) -> None:
    folder = tmp_path / "devstack"
    ended = subprocess.run(
        [command("touchline-demo"), "--once", "--customers", "200"],
        env=os.environ | {"TOUCHLINE_DEVSTACK_DIR": str(folder), "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    published = json.loads((folder / "demo-summary.json").read_text())
    assert published["touchpoints_accepted"] > 3000
    assert published["touchpoints_accepted"] == (
        published["touchpoints_folded"] + published["duplicates"] + published["dead_letters"] + published["erased"]
    )
    assert published["lag"] == 0
    assert published["duplicates"] > 0
    assert published["dead_letters"] > 0
    assert published["erased"] > 0
    assert published["merged"] > 0
    assert published["moves"].keys() >= {"enter", "advance", "regress", "renew", "lapse"}
    assert published["stalls"] > published["recoveries"] > 0
    assert published["actions"].keys() >= {"sent", "held"}
    assert "Where the customers are" in ended.stdout
    assert "the console: open this first  http://127.0.0.1:" in ended.stdout
    assert published["people"]["made up"] == 200
    assert f"{published['people']['came by live']} newcomers in the live part, 1 erased on request" in ended.stdout
    assert f"{published['touchpoints_rejected']} refused; " in ended.stdout
    left = [process for process in psutil.process_iter(["environ"]) if str(folder) in str(process.info["environ"])]
    assert left == []
