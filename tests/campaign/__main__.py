"""``python -m tests.campaign``: faults under load, by seed, judged by the checker; ``make faults`` runs it.

A campaign consists of rounds. Each round has a deployment of its own on one embedded stack, and is recorded as soon as
it is judged, so that a campaign that is interrupted goes on where it stopped when it is started again with its seed.
"""

import argparse
import asyncio
import json
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from touchline_devstack.settings import DevstackSettings
from touchline_devstack.stack import Stack

from tests.campaign.disk import NoDiskError, SmallDisk, own_mounts
from tests.campaign.faults import SERVER_FAULTS
from tests.campaign.rounds import machine, play_round

RECORD = Path("docs/evidence/faults.ndjson")


def finished(record: Path, seed: int) -> list[dict[str, Any]]:
    """The rounds of a seed that are on record."""
    if not record.exists():
        return []
    rows = [json.loads(line) for line in record.read_text().splitlines()]
    return [row for row in rows if row["seed"] == seed]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="begin no new round after that many (default: 10)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed goes on after its last recorded round")
    parser.add_argument("--round-seconds", type=float, default=120, help="load and faults of a round (default: 120)")
    parser.add_argument("--record", type=Path, default=RECORD, help=f"where rounds are recorded (default: {RECORD})")
    parser.add_argument("--keep", type=Path, help="keep evidence and logs of every round in this folder")
    parser.add_argument(
        "--server-faults", nargs="+", default=[], choices=SERVER_FAULTS, help="which of these to make (default: all)"
    )
    arguments = parser.parse_args()
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="touchline-campaign-"))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    # Without the folders of the machine it ran on.
    options = {"minutes": arguments.minutes, "round-seconds": arguments.round_seconds, "seed": arguments.seed}
    words = [f"--{name} {value:g}" for name, value in options.items()]
    if arguments.server_faults:
        words.append(f"--server-faults {shlex.join(arguments.server_faults)}")
    command = " ".join(["python -m tests.campaign", *words])
    context = {"command": command, "commit": commit.strip(), **machine()}
    stack = Stack(replace(DevstackSettings.from_environment(), folder=folder.resolve() / "stack"))
    disk = None
    try:
        own_mounts()
        stack.up()
        disk = SmallDisk.under(stack)
    except NoDiskError as error:
        print(f"without a full disk: {error}", flush=True)
        stack.up()
    deadline, failed = time.monotonic() + arguments.minutes * 60, 0
    number = len(finished(arguments.record, arguments.seed))
    try:
        while time.monotonic() < deadline:
            number += 1
            round_folder = folder / f"round-{arguments.seed}-{number}"
            playing = play_round(
                stack, round_folder, arguments.seed, number, arguments.round_seconds,
                disk=disk, chosen=arguments.server_faults,
            )  # fmt: skip
            outcome = asyncio.run(playing)
            arguments.record.parent.mkdir(parents=True, exist_ok=True)
            with arguments.record.open("a") as lines:
                lines.write(json.dumps({**outcome.as_json(), **context}) + "\n")
            failed += not outcome.ok
            print(
                f"round {number}: {'ok' if outcome.ok else 'FAILED, see ' + str(round_folder)}; {outcome.kills} kills, "
                f"{outcome.takeovers} take-overs of a frozen owner, {outcome.accepted} accepted, "
                f"{outcome.seconds:.0f} s",
                flush=True,
            )
            if not outcome.ok:
                print(outcome.report.as_text(), *outcome.unfinished, *outcome.leaked, sep="\n", flush=True)
    finally:
        stack.down()
        if disk is not None:
            disk.unmount()
        stack.remove()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
