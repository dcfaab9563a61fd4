"""``python -m tests.load``: many idle connections, and more load than is sustainable, recorded with their numbers."""

import argparse
import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.campaign.rounds import machine
from tests.load import idle_connections, overload

RECORD = Path("docs/evidence/load.ndjson")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("what", choices=["idle", "overload"], help="which load")
    parser.add_argument("--roles", nargs="+", default=list(idle_connections.ASKED), choices=[*idle_connections.ASKED])
    names = [kind.name for kind in idle_connections.KINDS]
    parser.add_argument("--kinds", nargs="+", default=names, choices=names, help="of idle connections")
    parser.add_argument("--quick", action="store_true", help="a tenth of it: to see that it works, not to quote")
    parser.add_argument("--record", type=Path, default=RECORD, help=f"where runs are recorded (default: {RECORD})")
    arguments = parser.parse_args()
    # Ended from outside, it stops what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    context = {
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python -m tests.load", *sys.argv[1:]]),
        "commit": commit.strip(),
        **machine(),
    }
    rows: list[dict[str, Any]]
    if arguments.what == "idle":
        kinds = tuple(arguments.kinds)
        rows = idle_connections.run(quick=arguments.quick, roles=tuple(arguments.roles), kinds=kinds)
    else:
        rows = overload.run(quick=arguments.quick)
    arguments.record.parent.mkdir(parents=True, exist_ok=True)
    with arguments.record.open("a") as lines:
        for row in rows:
            lines.write(json.dumps({**row, **context}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
