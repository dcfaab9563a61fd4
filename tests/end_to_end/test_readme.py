"""The commands of the README and the tutorial, run unchanged; and the samples that the README shows are the files."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from touchline_devstack.processes import command
from touchline_devstack.stack import Stack

from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
TUTORIAL = (ROOT / "docs/tutorial.md").read_text()
SET_UP = "make setup && source .venv/bin/activate\n"


def blocks(title: str) -> list[str]:
    """The indented blocks of a section."""
    _, _, section = README.partition(f"\n## {title}\n")
    section, _, _ = section.partition("\n## ")
    return blocks_in(section)


def blocks_in(section: str) -> list[str]:
    """The indented blocks of a text."""
    found = re.findall(r"(?:^(?: {4}.*)?\n)+", section, re.MULTILINE)
    return ["".join(line[4:] or "\n" for line in one.splitlines(True)).strip() + "\n" for one in found if one.strip()]


@pytest.mark.parametrize(
    ("title", "number", "file"),
    [
        ("Write a lifecycle", 0, "lifecycles/trial.yaml"),
        ("Write a play", 0, "plays/win-back.yaml"),
        ("Write a play", 1, "endpoints.yaml"),
    ],
)
def test_the_sample_configuration_is_what_the_readme_shows(title: str, number: int, file: str) -> None:
    assert blocks(title)[number] == (ROOT / "deploy/config" / file).read_text()


def run_commands(commands: str, stack: Stack, database_url: str, topic_prefix: str, folder: Path) -> tuple[str, str]:
    """Run a page's commands on free ports and the tests' servers; what they wrote to standard output and error."""
    # Setting up is what made this very test run.
    assert commands.startswith(SET_UP)
    commands = commands.removeprefix(SET_UP)
    ports = {port: str(free_port()) for port in ("8080", "8081", "8082", "8090") if port in commands}
    for port, free in ports.items():
        commands = commands.replace(port, free)
    # A reader looks around before they stop everything; a process that has not begun to listen dies of the signal.
    asked = "curl -sf --retry 300 --retry-delay 1 --retry-all-errors localhost:{}/healthz >&2"
    up = " && ".join(asked.format(free) for port, free in ports.items() if f"--port {free}" in commands)
    assert "kill $(jobs -p)" in commands
    commands = commands.replace("kill $(jobs -p)", f"{up}\nkill $(jobs -p)")
    (folder / "deploy").symlink_to(ROOT / "deploy")
    ours = {name: value for name, value in os.environ.items() if not name.startswith("TOUCHLINE_")}
    ended = subprocess.run(
        ["/bin/bash", "-c", "set -eo pipefail\n" + commands],
        cwd=folder,
        env=ours
        | {
            "PATH": f"{Path(command('touchline-ingest')).parent}:{os.environ['PATH']}",
            "NO_PROXY": "*",
            # The stack is there already, with a database and topics for this test alone.
            "TOUCHLINE_KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap,
            "TOUCHLINE_DATABASE_URL": database_url,
            "TOUCHLINE_TOPIC_PREFIX": topic_prefix,
            "TOUCHLINE_DEVSTACK_DIR": str(folder / "devstack"),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout, ended.stderr


def answers(output: str) -> list[dict[str, Any]]:
    """The JSON objects among the lines of an output."""
    return [json.loads(line) for line in output.replace("}{", "}\n{").splitlines() if line.startswith("{")]


@pytest.mark.stack
def test_the_readme_s_commands_work_as_they_stand_there(
    stack: Stack, database_url: str, topic_prefix: str, tmp_path: Path
) -> None:
    (commands,) = blocks("Use it")
    output, log = run_commands(commands, stack, database_url, topic_prefix, tmp_path)
    posted, customer = answers(output)
    assert (posted["accepted"], posted["rejected"]) == (1, 0)
    assert customer["customer_id"] == "c-17"
    assert customer["stages"]["service-cycle"]["stage"]
    assert log.count('"stopped"') == 4, log


@pytest.mark.stack
def test_the_tutorial_s_commands_work_as_they_stand_there(
    stack: Stack, database_url: str, topic_prefix: str, tmp_path: Path
) -> None:
    commands = "".join(blocks_in(TUTORIAL))
    output, log = run_commands(commands, stack, database_url, topic_prefix, tmp_path)
    *posted, customer, history = answers(output)
    assert [one["accepted"] for one in posted] == [1, 1, 1]
    assert customer["stages"]["gym"]["stage"] == "member"
    moves = [(item["from_stage"], item["to_stage"]) for item in history["items"] if item["lifecycle"] == "gym"]
    assert moves == [(None, "trial"), ("trial", "member")]
    assert log.count('"stopped"') == 3, log
